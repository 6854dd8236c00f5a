// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"cmp"
	"flag"
	"os"
	"time"
)

// nodeNameVariable is set by the downward API.
const nodeNameVariable = "NODE_NAME"

// Options are the options of one run.
type Options struct {
	// Endpoints are the client addresses of etcd members, separated by commas. The snapshot
	// is of the first member that answers, votes and has a leader.
	Endpoints string
	// CACert, Cert and Key are files in PEM: the CA of etcd's server certificate, and the
	// client certificate.
	CACert, Cert, Key string
	// Dir is the folder for snapshots.
	Dir string
	// Timeout limits the whole run.
	Timeout time.Duration
	// KeepCount is how many snapshots are kept, and KeepAge how long; 0 is no limit.
	KeepCount int
	KeepAge   time.Duration
	// Lease is the Lease to stamp, as namespace/name; empty for none.
	Lease string
	// NodeName is the holder of the Lease.
	NodeName string
	// Verify is a file to verify, in place of taking a snapshot.
	Verify string
}

// BindFlags adds the flags to a flag set.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Endpoints, "endpoints", "https://127.0.0.1:2379",
		"client `addresses` of etcd members, separated by commas; the snapshot is of the first member that answers and has a leader")
	flags.StringVar(&o.CACert, "cacert", "", "`file` with the CA of etcd's server certificate, such as /etc/kubernetes/pki/etcd/ca.crt")
	flags.StringVar(&o.Cert, "cert", "", "`file` with the client certificate, such as /etc/kubernetes/pki/etcd/healthcheck-client.crt")
	flags.StringVar(&o.Key, "key", "", "`file` with the key of the client certificate")
	flags.StringVar(&o.Dir, "dir", "", "`folder` for snapshots; it must exist, and others may not read it")
	flags.DurationVar(&o.Timeout, "timeout", 15*time.Minute, "`duration` after which the run is given up")
	flags.IntVar(&o.KeepCount, "keep-count", 14, "how many snapshots to keep; 0 is no limit")
	flags.DurationVar(&o.KeepAge, "keep-age", 0, "`duration` after which snapshots are removed, except the newest one; 0 is no limit")
	flags.StringVar(&o.Lease, "lease", "", "Lease to stamp with the time of the snapshot, as `namespace/name`; by default none")
	flags.StringVar(&o.NodeName, "node-name", defaultNodeName(),
		"`name` of the node, for the Lease; by default the value of "+nodeNameVariable+", or else the host name")
	flags.StringVar(&o.Verify, "verify", "", "`file` to verify, in place of taking a snapshot; the other flags are then not needed")
}

func defaultNodeName() string {
	host, _ := os.Hostname() // without any name, only the holder of the Lease is missing
	return cmp.Or(os.Getenv(nodeNameVariable), host)
}
