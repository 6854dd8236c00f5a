// SPDX-License-Identifier: Apache-2.0

// Package etcdsnapshot runs cpnp-operator etcd-snapshot on a real etcd with TLS and client certificates,
// and on a real API server. The findings are compared with those of etcd's etcdutl, which also restores the
// snapshots. hack/etcdutl is a module of its own, so that the operator does not depend on etcd's server.
package etcdsnapshot

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	deadline = 30 * time.Second
	tick     = 10 * time.Millisecond
)

// commandVariable makes the test binary the program itself: a process that can be killed.
const commandVariable = "CPNP_TEST_ETCD_SNAPSHOT"

var (
	cluster *testbed.ControlPlane
	// authority and server are shared by most tests; no test stops this server.
	authority *pki
	server    *etcd
)

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		os.Exit(runCommand())
	}
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(suite{m}, testbed.Options{}, &cluster))
}

// runCommand is the program's main with one command.
func runCommand() int {
	flags := flag.NewFlagSet("etcd-snapshot", flag.ExitOnError)
	run := etcdsnapshot.Command(flags)
	_ = flags.Parse(os.Args[1:]) // exits
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// suite starts the shared etcd after the control plane has started.
type suite struct{ m *testing.M }

// Run runs the tests.
func (s suite) Run() int {
	dir, err := os.MkdirTemp(cluster.Dir, "etcd-snapshot-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if authority, err = newPKI(dir); err != nil {
		fmt.Fprintln(os.Stderr, "making certificates:", err)
		return 1
	}
	if server, err = startEtcd(dir, authority); err != nil {
		fmt.Fprintln(os.Stderr, "starting etcd:", err)
		return 1
	}
	defer server.process.Stop()
	if err := server.fill(keys, valueSize); err != nil {
		fmt.Fprintln(os.Stderr, "writing keys:", err)
		return 1
	}
	return s.m.Run()
}
