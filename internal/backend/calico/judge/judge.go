// SPDX-License-Identifier: Apache-2.0

// Package judge decides what objects of Calico, managed and foreign, do to flows: before a
// write whether a required flow would be cut, and after a write whether the restrictions
// are effective. The package is pure.
package judge

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Calico is the judge of Calico's objects. The zero value is ready to use.
type Calico struct{}

var _ verify.Judge = Calico{}

// WhyUnjudged says why the effect of the restrictions cannot be judged.
func (Calico) WhyUnjudged(hosts plan.Hosts, live backend.Live) (reason, why string) {
	return WhyUnjudged(hosts, calico.Of(live))
}

// CheckLockout finds the required flows that are cut, or would be cut by the writes.
func (Calico) CheckLockout(
	required plan.RequiredFlows, nodes []verify.Node, live backend.Live, diff drift.Diff,
) (report verify.LockoutReport) {
	found := CheckLockout(required, hostsOf(nodes), calico.Of(live), WritesOf(diff))
	for _, cut := range found.Cuts {
		report.Cuts = append(report.Cuts, cut.summary())
	}
	for _, cut := range found.AlreadyCut {
		report.AlreadyCut = append(report.AlreadyCut, cut.summary())
	}
	return report
}

// Warnings describes optional flows that foreign policies would deny after the writes.
func (Calico) Warnings(hosts plan.Hosts, nodes []verify.Node, live backend.Live, diff drift.Diff) []string {
	return ForeignPolicyWarnings(hosts, hostsOf(nodes), calico.Of(live), WritesOf(diff))
}

// HostsEffective says whether the restrictions on nodes really act on packets.
func (Calico) HostsEffective(hosts plan.Hosts, live backend.Live) verify.Verdict {
	return HostsEffective(hosts, calico.Of(live))
}

func hostsOf(nodes []verify.Node) []dataplane.Node {
	hosts := make([]dataplane.Node, 0, len(nodes))
	for _, node := range nodes {
		hosts = append(hosts, dataplane.Node{Name: node.Name, Addresses: node.Addresses})
	}
	return hosts
}
