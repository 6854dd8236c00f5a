// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Observation holds the results of the earlier steps of a reconciliation.
type Observation struct {
	policy   *plan.Policy
	policies []plan.Policy
	operator state.Operator
	nodes    []corev1.Node
	calico   state.Calico
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
	written   repaired
	verdict   verify.Verdict
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
// or will have decided the phases of the nodes.
func (o Observation) settling() bool {
	return o.unconfirmed || o.undecided || o.hosts.Declared && o.calico.Settling && o.policy.Status.ObservedGeneration == o.policy.Generation
}

// input collects the inputs of a report.
func (r *Reporter) input(ctx context.Context, o Observation) (report.Input, error) {
	in := report.Input{
		Policy: o.policy, Verified: o.verdict,
		Losses: slices.Concat(o.network.Losses, o.hosts.Losses), ForeignNames: slices.Concat(o.diff.Taken, o.hostDiff.Taken),
		Remaining: o.remaining, Profile: o.hosts.Profile, HostObstacle: o.hosts.Unprotected,
		Network:       section(o.diff, len(o.network.Objects), len(o.network.Held), o.written),
		Hosts:         section(o.hostDiff, len(o.hosts.Objects), len(o.hosts.Held), o.written),
		KeepHostCount: !o.policy.Claims() || o.calico.MayHideObjects(),
		Rollout:       o.rollout, APIServers: o.apiServers,
		History: r.History.Summary(o.policy.Name, r.Clock.Now()),
	}
	pods, err := r.Observe.ListHostNetworkedPods(ctx, namespacesOf(o.policy))
	if err != nil {
		return in, err
	}
	in.Effective = verify.PodsEffective(o.policy, pods)
	if in.Effective.Holds {
		in.Effective = verify.NetworkPoliciesEnforced(o.policy, o.network.Enforcement, in.Effective)
	}
	if (in.Effective.Holds || in.Effective.Unknown) && o.hosts.Declared && o.hosts.Unprotected == nil && len(o.hosts.Held) == 0 {
		in.Effective = verify.WorseOf(in.Effective, effectiveOnHosts(o))
	}
	if err := r.addExposed(ctx, o, &in); err != nil {
		return in, err
	}
	if err := r.addNodes(ctx, o, &in); err != nil {
		return in, err
	}
	return in, r.addServices(ctx, o, &in)
}

// addExposed adds to the verdict the Services that bypass restrictions.
func (r *Reporter) addExposed(ctx context.Context, o Observation, in *report.Input) error {
	if o.policy.Spec.Network == nil || o.policy.Invalid != nil {
		return nil
	}
	exposed, err := r.Observe.ListExposedServices(ctx)
	if err != nil {
		return err
	}
	in.Effective = verify.AddServiceBypasses(in.Effective, o.hosts, o.network, o.nodes, exposed)
	return nil
}

// effectiveOnHosts tells whether the restrictions on nodes are effective. If required flows
// cannot be judged, the verdict is unknown.
func effectiveOnHosts(o Observation) verify.Verdict {
	verdict := verify.HostsEffective(o.hosts, o.calico)
	if verdict.Holds && o.doubt != "" {
		return verify.Verdict{
			Unknown: true, Reason: v1alpha1.ReasonNotJudged, Message: "It cannot be judged what the restrictions do: " + o.doubt,
		}
	}
	return verdict
}

// section counts the declared objects, and collects the remaining findings. Held objects
// cannot be rendered now, but count as declared.
func section(diff drift.Diff, objects, held int, written repaired) report.Section {
	section := report.Section{Declared: objects + held, InSync: objects - len(diff.Taken)}
	for _, w := range slices.Concat(diff.Writes, diff.Removals) {
		if written[w.Object] {
			continue
		}
		section.Findings = append(section.Findings, w.Findings...)
		if w.Desired != nil {
			section.InSync--
		}
	}
	return section
}

func namespacesOf(policy *plan.Policy) sets.Set[string] {
	namespaces := sets.New[string]()
	if policy.Spec.Network != nil {
		for _, component := range policy.Spec.Network.Components {
			if !component.OnHosts() {
				namespaces.Insert(component.Pods.Namespace)
			}
		}
	}
	return namespaces
}

// addNodes compares the taints of every node.
func (r *Reporter) addNodes(ctx context.Context, o Observation, in *report.Input) error {
	records, err := r.Observe.ListNodeRecords(ctx)
	if err != nil {
		return err
	}
	shelter := plan.NewShelter(o.operator, o.nodes, o.policies, stuck(r.History, records, o.policies, r.Clock.Now()))
	for i := range o.nodes {
		node := &o.nodes[i]
		if !o.policy.Selects(node) {
			continue
		}
		in.MatchedNodes++
		claims, losses := plan.Taints(node, o.policies)
		shelter.Hold(node, claims)
		in.Losses = append(in.Losses, lostBy(o.policy, losses)...)
		record := records.OfNode(node).Record
		moved := drift.Move(node, record, o.policies)
		in.OldRecordsLeft = in.OldRecordsLeft || !drift.SameRecord(record, moved)
		outcome := drift.Fields(remembering(r.History, drift.Node(node, moved), node.UID), claims, o.policies)
		add(&in.Taints, o.policy, claimsFor(o.policy, claims), outcome.Findings)
		taints := plan.MissingNoExecute(node, claims, o.policy.Name)
		if len(taints) == 0 {
			continue
		}
		pods, err := r.Observe.PodsOn(ctx, node.Name)
		if err != nil {
			return err
		}
		in.PodsToEvict += plan.Evicted(pods, taints)
	}
	return nil
}

// addServices compares the traffic policies of every Service.
func (r *Reporter) addServices(ctx context.Context, o Observation, in *report.Input) error {
	if len(o.policy.Spec.Services) == 0 {
		return nil
	}
	services, err := r.Observe.ListServices(ctx, plan.WantsLocal(o.policies))
	if err != nil {
		return err
	}
	for _, service := range services {
		if !o.policy.SelectsService(service) {
			continue
		}
		claims, losses := plan.Service(service, o.policies)
		in.Losses = append(in.Losses, lostBy(o.policy, losses)...)
		outcome := drift.Fields(remembering(r.History, drift.Service(service.Service), service.UID), claims, o.policies)
		declared := min(1, claimsFor(o.policy, claims)) // the report counts Services, not fields
		add(&in.Services, o.policy, declared, outcome.Findings)
	}
	return nil
}

// add counts the declared fields of one object, and collects the policy's findings.
func add(section *report.Section, policy *plan.Policy, declared int, findings []drift.Finding) {
	differing := 0
	for _, finding := range findings {
		if finding.Policy != policy.Name {
			continue
		}
		section.Findings = append(section.Findings, finding)
		if differs(finding.State) {
			differing++
		}
	}
	section.Declared += declared
	section.InSync += declared - min(declared, differing)
}

// differs tells whether a finding in the given state means that a field is not as declared.
func differs(is v1alpha1.DriftState) bool {
	switch is {
	case v1alpha1.StateNotApplicable, v1alpha1.StateEndpointsMissing, v1alpha1.StateForced:
		return false
	default:
		return true
	}
}

func claimsFor(policy *plan.Policy, claims []plan.Claim) int {
	count := 0
	for _, claim := range claims {
		if claim.Policy.Name == policy.Name {
			count++
		}
	}
	return count
}

func lostBy(policy *plan.Policy, losses []plan.Loss) []plan.Loss {
	var lost []plan.Loss
	for _, loss := range losses {
		if loss.Policy == policy.Name {
			lost = append(lost, loss)
		}
	}
	return lost
}
