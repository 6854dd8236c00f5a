// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// input collects the inputs of a report.
func (r *Reporter) input(ctx context.Context, o Observation) (report.Input, error) {
	if !o.policy.Claims() { // what is rolled back is told by name, and is no drift
		o.diff, o.hostDiff = drift.Diff{}, drift.Diff{}
	}
	in := report.Input{
		Policy: o.policy, Verified: o.verdict,
		Losses: slices.Concat(o.network.Losses, o.hosts.Losses), ForeignNames: slices.Concat(o.diff.Taken, o.hostDiff.Taken),
		Remaining: o.remaining, Profile: o.hosts.Profile, HostObstacle: o.hosts.Unprotected,
		Network:       section(o.diff, len(o.network.Objects), len(o.network.Held), o.written),
		Hosts:         section(o.hostDiff, len(o.hosts.Objects), len(o.hosts.Held), o.written),
		KeepHostCount: !o.policy.Claims() || o.live.Availability().MayHideObjects || o.live.Availability().Partial,
		Rollout:       o.rollout, APIServers: o.apiServers,
		History: r.History.Summarize(o.policy.Name, r.Clock.Now()),
	}
	pods, err := r.Observe.ListHostNetworkedPods(ctx, namespacesOf(o.policy))
	if err != nil {
		return in, err
	}
	in.Effective = effective(o, pods)
	if err := r.addExposed(ctx, o, &in); err != nil {
		return in, err
	}
	if err := r.addNodes(ctx, o, &in); err != nil {
		return in, err
	}
	return in, r.addServices(ctx, o, &in)
}

// effective tells whether the restrictions are effective, on pods and on hosts.
func effective(o Observation, pods []*state.HostPod) verify.Verdict {
	verdict := verify.PodsEffective(o.policy, pods)
	if verdict.Holds {
		verdict = verify.NetworkPoliciesEnforced(o.policy, o.network.Enforcement, verdict)
	}
	if (verdict.Holds || verdict.Unknown) && o.hosts.Declared && o.hosts.Unprotected == nil && len(o.hosts.Held) == 0 {
		verdict = verify.WorseOf(verdict, effectiveOnHosts(o))
	}
	return verdict
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
	verdict := o.judge.HostsEffective(o.hosts, o.live)
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
	shelter := plan.NewShelter(o.operator, o.nodes, o.policies, repair.StuckTaints(r.History, records, o.policies, r.Clock.Now()))
	memory := r.postures.of(o.policy.Name, o.policies)
	memory.keepNodes(o.nodes)
	for i := range o.nodes {
		node := &o.nodes[i]
		if !o.policy.SelectsNode(node) {
			continue
		}
		in.MatchedNodes++
		writes := r.History.RememberedWrites(drift.Object{Kind: "Node", Name: node.Name})
		if known, same := memory.node(node, records[node.Name], writes); same {
			add(&in.Taints, o.policy, known.declared, known.findings)
			continue
		}
		claims, losses := plan.TaintClaims(node, o.policies)
		shelter.HoldEvictions(node, claims)
		in.Losses = append(in.Losses, lostBy(o.policy, losses)...)
		record := records.OfNode(node).Record
		moved := drift.MoveRecord(node, record, o.policies)
		in.OldRecordsLeft = in.OldRecordsLeft || !drift.SameRecord(record, moved)
		outcome := drift.CompareFields(repair.WithMemory(r.History, drift.SharedNode(node, moved), node.UID), claims, o.policies)
		is := posture{writes, claimsFor(o.policy, claims), outcome.Findings}
		add(&in.Taints, o.policy, is.declared, is.findings)
		if len(losses) == 0 && drift.SameRecord(record, moved) {
			memory.rememberNode(node, records[node.Name], claims, is)
		}
		taints := plan.MissingNoExecute(node, claims, o.policy.Name)
		if len(taints) == 0 {
			continue
		}
		pods, err := r.Observe.PodsOn(ctx, node.Name)
		if err != nil {
			return err
		}
		in.PodsToEvict += plan.CountEvicted(pods, taints)
	}
	return nil
}

// addServices compares the traffic policies of every Service.
func (r *Reporter) addServices(ctx context.Context, o Observation, in *report.Input) error {
	if len(o.policy.Spec.Services) == 0 {
		return nil
	}
	memory := r.postures.of(o.policy.Name, o.policies)
	memory.round++
	services, err := r.Observe.ListServicesBut(ctx, func(service state.Service) bool {
		known := memory.service(service, r.History.RememberedWrites(serviceObject(service)))
		if known != nil && known.selected {
			add(&in.Services, o.policy, known.declared, known.findings)
		}
		return known != nil
	}, plan.WantsLocal(o.policies))
	if err != nil {
		return err
	}
	for _, service := range services {
		writes := r.History.RememberedWrites(serviceObject(service))
		if !o.policy.SelectsService(service) {
			memory.rememberService(service, false, posture{writes: writes})
			continue
		}
		claims, losses := plan.ServiceClaims(service, o.policies)
		in.Losses = append(in.Losses, lostBy(o.policy, losses)...)
		outcome := drift.CompareFields(repair.WithMemory(r.History, drift.SharedService(service.Service), service.UID), claims, o.policies)
		// The report counts Services, not fields.
		is := posture{writes, min(1, claimsFor(o.policy, claims)), outcome.Findings}
		add(&in.Services, o.policy, is.declared, is.findings)
		if len(losses) == 0 {
			memory.rememberService(service, true, is)
		}
	}
	memory.keepServices()
	// A cache lists in no particular order, and a status must not change with it.
	slices.SortStableFunc(in.Services.Findings, func(a, b drift.Finding) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	return nil
}

func serviceObject(service state.Service) drift.Object {
	return drift.Object{Kind: "Service", Namespace: service.Namespace, Name: service.Name}
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
