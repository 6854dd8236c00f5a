// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// judgeFlows checks the required flows against the next writes, and against all writes until the
// end of the rollout. The verdict tells whether writing is safe. cut is a required flow
// that is cut or would be, and stays empty if a user has allowed the lockout. doubt tells
// why a judgement is impossible.
func judgeFlows(o *Observation, nodes []verify.Node) {
	if !o.verdict.Holds || !o.hosts.Rendered() {
		return
	}
	override := o.policy.OverrideReason()
	if reason, why := o.judge.WhyUnjudged(o.hosts, o.live); reason != "" {
		o.doubt, o.verdict = why, verify.UnjudgedWritable(reason, why, override).WithNotes(o.notes)
		return
	}
	whole := o.hosts
	whole.Now, whole.Objects = whole.Whole, whole.WholeObjects
	through := drift.CompareHosts(o.policy, o.policies, whole, o.live)
	report := o.judge.CheckLockout(o.hosts.RequiredFlows, nodes, o.live, through)
	if len(report.Cuts) == 0 {
		next := o.judge.CheckLockout(o.hosts.RequiredFlows, nodes, o.live, o.hostDiff)
		report.Cuts = next.Cuts
	}
	o.doubt = report.UncertainFlows()
	if override == "" {
		o.cut = report.FirstCut()
	}
	verdict := verify.RequiredFlowsKept(report, override)
	if !verdict.Holds {
		o.verdict = verdict
		return
	}
	if o.doubt == "" { // otherwise the status would repeat the warnings
		o.notes = slices.Concat(o.judge.Warnings(o.hosts, nodes, o.live, through), o.notes)
	}
	if len(report.Cuts)+len(report.AlreadyCut) == 0 {
		verdict = verify.SafeToWrite(nil)
	}
	o.verdict = verdict.WithNotes(o.notes)
	if override != "" && o.verdict.Reason == v1alpha1.ReasonVerified && len(o.hosts.Undecided) == 0 {
		o.verdict.Message += "; the annotation " + v1alpha1.AnnotationAllowLockout + " is set and not needed: remove it"
	}
}

// nodesOf returns all nodes with the addresses that identify each node.
func nodesOf(snapshot state.Snapshot) []verify.Node {
	identity, nodes := snapshot.Addresses(), make([]verify.Node, 0, len(snapshot.Nodes))
	for i := range snapshot.Nodes {
		name := snapshot.Nodes[i].Name
		nodes = append(nodes, verify.Node{Name: name, Addresses: identity.OfNode(name)})
	}
	return nodes
}
