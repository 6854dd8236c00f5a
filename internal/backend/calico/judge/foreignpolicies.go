// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// findForeignPolicies finds foreign policies that decide about restricted traffic
// before the managed policies do. For every managed endpoint, and all restricted
// traffic there, the policies are followed in the order of Felix:
//
//   - A rule that allows more sources than the policy voids the restriction. So does a
//     rule in the managed tier with action Pass: traffic skips the managed policies
//     that deny.
//   - A rule that denies permitted sources cuts off these sources.
//   - A tier before the managed tier drops all undecided traffic if a policy of the
//     tier selects the endpoint, unless the default action of the tier is Pass.
//
// The walk ends at a rule that decides about all of the traffic, and after the managed
// policies, because no undecided traffic is left. If a rule has conditions beyond this
// walk (selectors, Services, named ports), the finding says that the rule may have the
// effect.
func findForeignPolicies(hosts plan.Hosts, live calico.Live) *verify.Verdict {
	w := &policyWalk{
		hosts: hosts.Now, tiers: tiersInOrder(hosts, live),
		nodeAddresses: nodeAddressesOf(hosts.Now), permitted: map[permittedQuery]permittedSet{},
	}
	if !slices.ContainsFunc(w.tiers, func(t orderedTier) bool { return t.managed }) {
		return nil // no managed tier: see the condition Programmed
	}
	all := restrictedTargets(hosts.Now)
	for _, e := range endpointKindsOf(hosts, live) {
		for _, t := range all {
			switch {
			case t.iface != "" && t.iface == e.interfaceName:
				t.address = netip.Prefix{} // on this interface, every address is restricted
				w.followTraffic(e, t)
			case t.iface == "" || t.address.IsValid():
				w.followTraffic(e, t)
			}
		}
	}
	return w.toVerdict()
}

// restrictedTargets returns the restricted traffic.
func restrictedTargets(hosts backend.Hosts) []restrictedTarget {
	var out []restrictedTarget
	for _, component := range hosts.Components {
		what := "traffic to component " + component.Name
		for _, traffic := range component.Ports {
			out = append(out, restrictedTarget{
				allowed: what, denied: what, traffic: traffic, iface: component.Interface, address: component.Address,
			})
		}
	}
	if hosts.DenyUnlisted {
		out = append(out, restrictedTarget{allowed: "traffic that is not listed", denied: "traffic that is listed"})
	}
	return out
}

// endpointKind has the properties by which rules distinguish managed endpoints: the
// labels, and the interface if the endpoint is for a single interface.
type endpointKind struct {
	labels        map[string]string
	interfaceName string
}

// endpointKindsOf returns a member of each kind of managed endpoint, with the labels of
// the plan and the labels from other writers.
func endpointKindsOf(hosts plan.Hosts, live calico.Live) []endpointKind {
	liveLabels := map[string]map[string]string{}
	for i := range live.Endpoints {
		liveLabels[live.Endpoints[i].Name] = live.Endpoints[i].Labels
	}
	var out []endpointKind
	known := map[string]bool{}
	for _, object := range hosts.Objects {
		endpoint, is := object.(*v3.HostEndpoint)
		if !is {
			continue
		}
		s := endpointKind{labels: map[string]string{}, interfaceName: endpoint.Labels[calico.LabelInterface]}
		maps.Copy(s.labels, liveLabels[endpoint.Name])
		maps.Copy(s.labels, endpoint.Labels)
		if key := fmt.Sprint(s); !known[key] {
			known[key] = true
			out = append(out, s)
		}
	}
	return out
}

func nodeAddressesOf(hosts backend.Hosts) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, node := range hosts.Nodes {
		for _, address := range node.Addresses {
			b.Add(address)
		}
	}
	return setOf(&b)
}

// setOf returns the set of a builder. Only valid addresses are added here, so that the
// builder cannot fail.
func setOf(b *netipx.IPSetBuilder) *netipx.IPSet {
	set, err := b.IPSet()
	if err != nil {
		return &netipx.IPSet{}
	}
	return set
}

// policyWalk follows traffic through the policies, and collects findings.
type policyWalk struct {
	hosts         backend.Hosts
	tiers         []orderedTier
	nodeAddresses *netipx.IPSet // the known addresses of nodes
	permitted     map[permittedQuery]permittedSet
	found         []*finding
}

// followTraffic follows incoming traffic at an endpoint until a policy or tier has
// decided about all traffic.
func (w *policyWalk) followTraffic(e endpointKind, t restrictedTarget) {
	for _, phase := range []dataplane.Phase{dataplane.Untracked, dataplane.PreDNAT, dataplane.Normal} {
		if phase == dataplane.Untracked && e.interfaceName == "" {
			continue // untracked policies have no effect on an endpoint for every interface
		}
		for _, tier := range w.tiers {
			if w.followTier(tier, phase, e, t) {
				return
			}
			if tier.managed && phase == dataplane.Normal {
				return
			}
		}
	}
}

// followTier says whether the tier decides about all of the traffic.
func (w *policyWalk) followTier(tier orderedTier, phase dataplane.Phase, e endpointKind, t restrictedTarget) bool {
	selecting := ""
	for _, p := range tier.policies {
		switch {
		case p.phase != phase:
			continue
		case p.unreadable:
			w.addFinding(describePolicy(p, tier), effectUnreadable, "", false)
			continue
		case !p.selects(e.labels):
			continue
		}
		selecting = p.Name
		if decided, passed := w.followPolicy(p, tier, t); decided || passed {
			return decided
		}
	}
	if selecting == "" || phase != dataplane.Normal || !tier.deniesByDefault {
		return false
	}
	who := fmt.Sprintf("tier %s (%s selects these hosts, and the tier's default action is Deny)", tier.name, selecting)
	w.addFinding(who, effectDrops, t.denied, true)
	return true
}

// followPolicy says whether a policy decides about all of the traffic, or passes all
// traffic on to the next tier.
func (w *policyWalk) followPolicy(p foreignPolicy, tier orderedTier, t restrictedTarget) (decided, passed bool) {
	for _, rule := range p.Spec.Ingress {
		for _, m := range matchRule(rule, t, w.nodeAddresses) {
			w.noteRuleEffect(rule.Action, m, p, tier, t)
			if m.whole && rule.Action != v3.Log {
				return rule.Action != v3.Pass, rule.Action == v3.Pass
			}
		}
	}
	return false, false
}

// noteRuleEffect adds a finding if a rule treats matching traffic differently than the
// managed policies do. An effect on the ports of a component is reported for the
// component alone.
func (w *policyWalk) noteRuleEffect(action v3.Action, m ruleMatch, p foreignPolicy, tier orderedTier, t restrictedTarget) {
	if (t.traffic == profile.Traffic{}) && w.isComponentTraffic(m.traffic) {
		return
	}
	switch {
	case action == v3.Allow && w.exceedsPermitted(m):
		w.addFinding(describePolicy(p, tier), effectAllows, t.allowed, !m.uncertain)
	case action == v3.Pass && p.betweenManaged && w.exceedsPermitted(m):
		w.addFinding(describePolicy(p, tier), effectPasses, t.allowed, !m.uncertain)
	case action == v3.Deny && !p.afterAllows && w.cutsPermitted(m):
		w.addFinding(describePolicy(p, tier), effectDenies, t.denied, !m.uncertain)
	}
}

func (w *policyWalk) isComponentTraffic(traffic profile.Traffic) bool {
	return slices.ContainsFunc(w.hosts.Components, func(c backend.Component) bool {
		return slices.ContainsFunc(c.Ports, func(port profile.Traffic) bool { return port.Covers(traffic) })
	})
}

// exceedsPermitted says whether the match has a source without permission for all of
// the matched traffic.
func (w *policyWalk) exceedsPermitted(m ruleMatch) bool {
	permitted, bounded := w.permittedSources(m.traffic, true)
	if !bounded {
		return false
	}
	var b netipx.IPSetBuilder
	b.AddSet(m.sources)
	b.RemoveSet(permitted)
	return len(setOf(&b).Ranges()) > 0
}

// cutsPermitted says whether the match has a source with permission for some of the
// matched traffic.
func (w *policyWalk) cutsPermitted(m ruleMatch) bool {
	permitted, bounded := w.permittedSources(m.traffic, false)
	return !bounded || permitted.Overlaps(m.sources)
}

// permittedQuery asks for the sources that may send all of the traffic, or some of it.
type permittedQuery struct {
	traffic profile.Traffic
	all     bool
}

type permittedSet struct {
	set     *netipx.IPSet
	bounded bool
}

func (w *policyWalk) permittedSources(traffic profile.Traffic, all bool) (*netipx.IPSet, bool) {
	q := permittedQuery{traffic, all}
	a, known := w.permitted[q]
	if !known {
		a.set, a.bounded = w.hosts.PermittedSources(slices.Concat(w.hosts.Required, w.hosts.Listed), func(t profile.Traffic) bool {
			return all && t.Covers(traffic) || !all && t.WithLastPort().Overlaps(traffic)
		})
		if a.bounded {
			a.set = withLoopback(a.set)
		}
		w.permitted[q] = a
	}
	return a.set, a.bounded
}

// withLoopback adds the loopback addresses: loopback traffic of a host is always
// allowed.
func withLoopback(set *netipx.IPSet) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddSet(set)
	b.AddPrefix(netip.MustParsePrefix("127.0.0.0/8"))
	b.AddPrefix(netip.MustParsePrefix("::1/128"))
	return setOf(&b)
}

// toVerdict returns the verdict on the findings; nil without findings.
func (w *policyWalk) toVerdict() *verify.Verdict {
	if len(w.found) == 0 {
		return nil
	}
	return &verify.Verdict{
		Unknown: !slices.ContainsFunc(w.found, func(f *finding) bool { return f.certain }),
		Reason:  v1alpha1.ReasonForeignPolicy,
		Message: "Foreign policies decide before the operator's policies: " + describeFindings(w.found) + ": exclude these hosts from " +
			"the selectors of these policies with !has(" + v1alpha1.LabelPolicy + "), or move these policies to a tier after " + calico.TierName,
	}
}
