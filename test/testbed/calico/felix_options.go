// SPDX-License-Identifier: Apache-2.0

package calico

import "strconv"

// Backend is the packet filter for Felix's rules.
type Backend string

// The backends. iptables-legacy would need other kernel modules.
const (
	IPTables Backend = "iptables-nft"
	NFTables Backend = "nftables"
)

// healthPort is the port, on loopback, of Felix's readiness.
const healthPort = "9099"

// FelixOptions are the common options of all Felixes of a cluster.
type FelixOptions struct {
	// Backend is IPTables when empty.
	Backend Backend
	// IPv6 makes Felix filter IPv6 too; otherwise, IPv6 is unfiltered.
	IPv6 bool
	// Env are further environment variables of Felix, which override any
	// FelixConfiguration.
	Env []string
}

// felixEnvironment returns the environment of a Felix without eBPF, because the test bed's
// Felix is built without cgo. Felix then writes files only below the machine's own /run.
func (o FelixOptions) felixEnvironment(node string) []string {
	env := []string{
		"FELIX_DATASTORETYPE=kubernetes",
		"FELIX_FELIXHOSTNAME=" + node,
		"FELIX_DebugSkipCTLBCleanup=true", // required in this spelling: otherwise Felix panics
		"FELIX_XDPENABLED=false",
		"FELIX_USAGEREPORTINGENABLED=false",
		"FELIX_HEALTHENABLED=true",
		"FELIX_HEALTHHOST=127.0.0.1",
		"FELIX_HEALTHPORT=" + healthPort,
		"FELIX_IPV6SUPPORT=" + strconv.FormatBool(o.IPv6),
		"FELIX_LOGSEVERITYSCREEN=INFO",
		"FELIX_LOGSEVERITYFILE=none",
		"FELIX_LOGSEVERITYSYS=none",
		"FELIX_LOGFILEPATH=none",
	}
	if o.Backend == NFTables {
		env = append(env, "FELIX_NFTABLESMODE=Enabled")
	} else {
		env = append(env, "FELIX_NFTABLESMODE=Disabled", "FELIX_IPTABLESBACKEND=nft")
	}
	return append(env, o.Env...)
}
