// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Judge knows what the objects of a backend, managed and foreign, do to flows. A Judge is
// pure.
type Judge interface {
	// WhyUnjudged says why the effect of the restrictions on protected nodes cannot be
	// judged, whatever the rules say; empty if the effect can be judged. The reason is for
	// the conditions Verified and Effective.
	WhyUnjudged(hosts plan.Hosts, live backend.Live) (reason, why string)
	// CheckLockout finds the required flows that would be cut after any of the writes of the
	// diff, in order, and the required flows that are cut already.
	CheckLockout(required plan.RequiredFlows, nodes []Node, live backend.Live, diff drift.Diff) LockoutReport
	// Warnings describes optional flows that foreign rules would deny after the writes.
	Warnings(hosts plan.Hosts, nodes []Node, live backend.Live, diff drift.Diff) []string
	// HostsEffective says whether the restrictions on nodes really act on packets.
	HostsEffective(hosts plan.Hosts, live backend.Live) Verdict
}

// Node is a node of the cluster with the addresses that identify the node.
type Node struct {
	Name      string
	Addresses []netip.Addr
}
