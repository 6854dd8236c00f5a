// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// verifyFlows checks the required flows against the next writes, and against all writes until
// the end of the rollout. The verdict tells whether writing is safe. Cut is a required flow
// that is cut or would be, and stays empty if a user has allowed the lockout. Doubt tells
// why a judgement is impossible.
//
// Flows are judged also while a component of pods holds the writes of the policy: nodes may be
// in flight. The verdict stays then, with the reason to hold.
func (a *Assessment) verifyFlows() {
	switch held, notes := a.Verdict, a.Notes; {
	case !a.Hosts.Rendered():
	case held.Holds:
		a.judgeFlows()
	case len(a.Network.Held) > 0 && len(a.Hosts.Held) == 0:
		a.judgeFlows()
		a.Verdict, a.Notes = held, notes
	}
}

// judgeFlows sets Verdict, Cut, Doubt and Notes.
func (a *Assessment) judgeFlows() {
	override := a.Policy.OverrideReason()
	if reason, why := a.Judge.WhyUnjudged(a.Hosts, a.Live()); reason != "" {
		a.Doubt, a.Verdict = why, verify.UnjudgedWritable(reason, why, override).WithNotes(a.Notes)
		return
	}
	nodes, whole := nodesOf(a.Snapshot), a.Hosts
	whole.Now, whole.Objects = whole.Whole, whole.WholeObjects
	through := drift.CompareHosts(a.Policy, a.Policies, whole, a.Live())
	report := a.Judge.CheckLockout(a.Hosts.RequiredFlows, nodes, a.Live(), through)
	if len(report.Cuts) == 0 {
		next := a.Judge.CheckLockout(a.Hosts.RequiredFlows, nodes, a.Live(), a.HostDiff)
		report.Cuts = next.Cuts
	}
	a.Doubt = report.UncertainFlows()
	if override == "" {
		a.Cut = report.FirstCut()
	}
	verdict := verify.RequiredFlowsKept(report, override)
	if !verdict.Holds {
		a.Verdict = verdict
		return
	}
	if a.Doubt == "" { // otherwise the status would repeat the warnings
		a.Notes = slices.Concat(a.Judge.Warnings(a.Hosts, nodes, a.Live(), through), a.Notes)
	}
	if len(report.Cuts)+len(report.AlreadyCut) == 0 {
		verdict = verify.SafeToWrite(nil)
	}
	a.Verdict = verdict.WithNotes(a.Notes)
	if override != "" && a.Verdict.Reason == v1alpha1.ReasonVerified && len(a.Hosts.Undecided) == 0 {
		a.Verdict.Message += "; the annotation " + v1alpha1.AnnotationAllowLockout + " is set and not needed: remove it"
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
