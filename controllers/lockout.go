// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// judge checks the required flows against the next writes, and against all writes until the
// end of the rollout. The verdict tells whether writing is safe. cut is a required flow
// that is cut or would be, and stays empty if a user has allowed the lockout. doubt tells
// why a judgement is impossible.
func judge(o *Observation, snapshot state.Snapshot) {
	if !o.verdict.Holds || !o.hosts.Rendered() {
		return
	}
	override := o.policy.Override()
	if reason, why := verify.WhyUnjudged(o.hosts, snapshot.Calico); reason != "" {
		o.doubt, o.verdict = why, verify.UnjudgedWritable(reason, why, override).WithNotes(o.notes)
		return
	}
	nodes := dataplaneNodes(snapshot)
	whole := o.hosts
	whole.Calico, whole.Objects = whole.Whole, whole.WholeObjects
	through := verify.WritesOf(drift.Hosts(o.policy, o.policies, whole, snapshot.Calico))
	report := verify.CheckLockout(o.hosts.Lifelines, nodes, snapshot.Calico, through)
	if len(report.Cuts) == 0 {
		next := verify.CheckLockout(o.hosts.Lifelines, nodes, snapshot.Calico, verify.WritesOf(o.hostDiff))
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
		o.notes = slices.Concat(verify.ForeignPolicyWarnings(o.hosts, nodes, snapshot.Calico, through), o.notes)
	}
	if len(report.Cuts)+len(report.AlreadyCut) == 0 {
		verdict = verify.SafeToWrite(nil)
	}
	o.verdict = verdict.WithNotes(o.notes)
	if override != "" && o.verdict.Reason == v1alpha1.ReasonVerified && len(o.hosts.Undecided) == 0 {
		o.verdict.Message += "; the annotation " + v1alpha1.AnnotationAllowLockout + " is set and not needed: remove it"
	}
}

func dataplaneNodes(snapshot state.Snapshot) []dataplane.Node {
	identity, nodes := snapshot.Addresses(), make([]dataplane.Node, 0, len(snapshot.Nodes))
	for i := range snapshot.Nodes {
		name := snapshot.Nodes[i].Name
		nodes = append(nodes, dataplane.Node{Name: name, Addresses: identity.OfNode(name)})
	}
	return nodes
}
