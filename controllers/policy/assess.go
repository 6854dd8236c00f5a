// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Observation holds the results of the earlier steps of a reconciliation.
type Observation struct {
	judge    verify.Judge
	policy   *plan.Policy
	policies []plan.Policy
	operator state.Operator
	nodes    []corev1.Node
	live     backend.Live
	// unconfirmed tells that the cache may be stale, so that no restriction may follow from the
	// cache. unasked tells that the API server could not be asked, so that the doubt may last.
	unconfirmed, unasked bool
	// undecided tells that the phases of the nodes are not decided yet, because the operator
	// has just started.
	undecided bool
	network   plan.Network
	diff      drift.Diff
	hosts     plan.Hosts
	hostDiff  drift.Diff
	rollout   rollout.Decision
	// decided tells that rollout is a decision. Otherwise rollout holds the persisted
	// enactments. unsettled are the nodes whose persisted enactment differs from the decision.
	decided   bool
	unsettled map[string]bool
	// leaving are the enactments to delete, because the policy does not protect their nodes
	// any more.
	leaving []*v1alpha1.ControlPlaneNodeEnactment
	written repaired
	verdict verify.Verdict
	// notes are the warnings about safe writes.
	notes []string
	// apiServers are current and recent addresses of API servers.
	apiServers []v1alpha1.APIServerAddress
	// cut is a required flow that is cut or would be; empty if no flow is cut.
	cut string
	// doubt is why the restrictions on nodes cannot be judged; empty if a judgement is
	// possible.
	doubt string
	// remaining are the objects still to be restored by a deletion.
	remaining []string
}

// settling tells that a new report would be no better than the last report. Soon the
// operator will have read Calico, with an event; or will know whether the cache is stale;
// or will have decided the phases of the nodes. A rollback is reported in any case.
func (o Observation) settling() bool {
	readsCalico := o.hosts.Declared && o.live.Availability().Settling && o.policy.Status.ObservedGeneration == o.policy.Generation
	return o.policy.Claims() && (o.unconfirmed || o.undecided || readsCalico)
}

// assess plans the objects of a policy, compares the cluster with the plan, and verifies
// that the difference is safe to write.
func (p *planned) assess(
	judge verify.Judge, policy *plan.Policy, policies []plan.Policy, snapshot state.Snapshot,
) Observation {
	o := Observation{
		judge: judge, policy: policy, policies: policies, operator: snapshot.Operator, nodes: snapshot.Nodes, live: snapshot.OnHosts(),
		unconfirmed: snapshot.Unconfirmed, unasked: snapshot.ConfirmError != nil,
		network: p.networks.NetworkPolicies(policy, policies, snapshot),
		hosts:   plan.HostProtection(policy, policies, snapshot),
	}
	o.diff = p.inSync.CompareNetworkPolicies(policy, o.network, snapshot.NetworkPolicies)
	o.hostDiff = drift.CompareHosts(policy, policies, o.hosts, o.live)
	if !policy.Claims() {
		o.verdict = beingRolledBack
		return o
	}
	o.notes = slices.Concat(o.network.Notes, o.hosts.Notes)
	o.verdict = verify.PolicyWritable(policy, snapshot.Nodes, slices.Concat(o.network.Held, o.hosts.Held), o.notes)
	judgeFlows(&o, nodesOf(snapshot))
	o.verdict = verify.WithUndecided(o.verdict, o.hosts.Undecided, policy.OverrideReason(), o.notes)
	o.verdict = verify.WithHostObstacle(o.verdict, o.hosts, o.notes)
	// An earlier version of the operator remembered API servers in objects for hosts. Read the
	// addresses there before removing those objects.
	if policy.Spec.Network != nil && (policy.Status.APIServers != nil || !o.live.Availability().MayHideObjects) {
		o.apiServers = plan.KnownAPIServers(policy, snapshot)
	}
	return o
}

// beingRolledBack is the verdict on a policy without claims: no new restriction is written.
var beingRolledBack = verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What was written is being rolled back"}
