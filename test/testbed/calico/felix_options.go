// SPDX-License-Identifier: Apache-2.0

package calico

import "strconv"

// Backend is what Felix writes its rules with.
type Backend string

// The backends. iptables-legacy would need other kernel modules.
const (
	IPTables Backend = "iptables-nft"
	NFTables Backend = "nftables"
)

// healthPort is where Felix says, on loopback, whether it is ready.
const healthPort = "9099"

// FelixOptions is what is the same for all of a cluster's Felixes.
type FelixOptions struct {
	// Backend is IPTables when empty.
	Backend Backend
	// IPv6 has Felix police IPv6 too; without it, IPv6 is unfiltered.
	IPv6 bool
	// Env are more of Felix's environment variables. They are stronger than
	// any FelixConfiguration.
	Env []string
}

// environment is that of a Felix that can not use eBPF, since it is built
// without cgo, and that writes no files but those in the machine's own /run.
func (o FelixOptions) environment(node string) []string {
	env := []string{
		"FELIX_DATASTORETYPE=kubernetes",
		"FELIX_FELIXHOSTNAME=" + node,
		"FELIX_DebugSkipCTLBCleanup=true", // in this spelling: without it, Felix panics
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
