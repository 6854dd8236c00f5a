// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// foreignPolicies finds policies of others that decide before ours about what
// is restricted. For every endpoint of ours, and all traffic that is restricted
// there, it goes through the policies in the order in which Felix does:
//
//   - What allows more than may connect makes the restriction void. So does
//     what passes it on in our own tier, past the policies that deny.
//   - What denies some that may connect cuts them off.
//   - A tier before ours drops what none of its policies decides, if one of them
//     selects the endpoint, unless its default action is Pass.
//
// What is behind a rule that decides about all of the traffic is not looked at,
// and neither is what comes after our policies: they have decided by then.
// Where a rule has conditions that are not judged here (selectors, Services,
// named ports), it is said that it may do so.
func findForeignPolicies(hosts plan.Hosts, live state.Calico) *Verdict {
	w := &policyWalk{hosts: hosts.Calico, tiers: tiersInOrder(hosts, live), nodeAddresses: nodeAddressesOf(hosts.Calico), permitted: map[permittedQuery]permittedSet{}}
	if !slices.ContainsFunc(w.tiers, func(t orderedTier) bool { return t.managed }) {
		return nil // nothing is in place: Programmed tells
	}
	all := restrictedTargets(hosts.Calico)
	for _, e := range endpointKindsOf(hosts, live) {
		for _, t := range all {
			switch {
			case t.iface != "" && t.iface == e.interfaceName:
				t.address = netip.Prefix{} // there, every address is restricted
				w.followTraffic(e, t)
			case t.iface == "" || t.address.IsValid():
				w.followTraffic(e, t)
			}
		}
	}
	return w.toVerdict()
}

// targets returns what is restricted.
func restrictedTargets(hosts calico.Hosts) []restrictedTarget {
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

// seat is what tells endpoints of ours from each other: their labels, and the
// interface, if they are not for every one.
type endpointKind struct {
	labels        map[string]string
	interfaceName string
}

// endpointsOf returns one of each kind of our endpoints, with the labels that
// they are given and those that others gave them.
func endpointKindsOf(hosts plan.Hosts, live state.Calico) []endpointKind {
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

func nodeAddressesOf(hosts calico.Hosts) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, node := range hosts.Nodes {
		for _, address := range node.Addresses {
			b.Add(address)
		}
	}
	return setOf(&b)
}

// setOf returns the set: nothing that is added to one here is invalid.
func setOf(b *netipx.IPSetBuilder) *netipx.IPSet {
	set, err := b.IPSet()
	if err != nil {
		return &netipx.IPSet{}
	}
	return set
}

// walk goes through the policies, and gathers what it finds.
type policyWalk struct {
	hosts         calico.Hosts
	tiers         []orderedTier
	nodeAddresses *netipx.IPSet // the nodes' addresses, as far as they are known
	permitted     map[permittedQuery]permittedSet
	found         []*finding
}

// endpoint follows traffic that comes in at an endpoint, until something has
// decided about all of it.
func (w *policyWalk) followTraffic(e endpointKind, t restrictedTarget) {
	for _, phase := range []dataplane.Phase{dataplane.Untracked, dataplane.PreDNAT, dataplane.Normal} {
		if phase == dataplane.Untracked && e.interfaceName == "" {
			continue // has no effect on an endpoint for every interface
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

// tier says whether the tier decides about all of the traffic.
func (w *policyWalk) followTier(followTier orderedTier, phase dataplane.Phase, e endpointKind, t restrictedTarget) bool {
	selecting := ""
	for _, p := range followTier.policies {
		switch {
		case p.phase != phase:
			continue
		case p.unreadable:
			w.addFinding(describePolicy(p, followTier), effectUnreadable, "", false)
			continue
		case !p.selects(e.labels):
			continue
		}
		selecting = p.Name
		if decided, passed := w.followPolicy(p, followTier, t); decided || passed {
			return decided
		}
	}
	if selecting == "" || phase != dataplane.Normal || !followTier.deniesByDefault {
		return false
	}
	who := fmt.Sprintf("tier %s (%s selects these hosts, and the tier's default action is Deny)", followTier.name, selecting)
	w.addFinding(who, effectDrops, t.denied, true)
	return true
}

// policy says whether a policy decides about all of the traffic, or passes all
// of it on to the next tier.
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

// rule notes what a rule does to what it matches, if that is not what ours do.
// What is done to a component's ports is told of the component alone.
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
	return slices.ContainsFunc(w.hosts.Components, func(c calico.Component) bool {
		return slices.ContainsFunc(c.Ports, func(port profile.Traffic) bool { return port.Covers(traffic) })
	})
}

// exceeds says whether more is matched than may connect to all of it.
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

// cuts says whether some is matched that may connect to some of it.
func (w *policyWalk) cutsPermitted(m ruleMatch) bool {
	permitted, bounded := w.permittedSources(m.traffic, false)
	return !bounded || permitted.Overlaps(m.sources)
}

// question is who may send all of the traffic, or some of it.
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
		a.set, a.bounded = w.hosts.Permitted(slices.Concat(w.hosts.Required, w.hosts.Listed), func(t profile.Traffic) bool {
			return all && t.Covers(traffic) || !all && t.Normal().Overlaps(traffic)
		})
		if a.bounded {
			a.set = withLoopback(a.set)
		}
		w.permitted[q] = a
	}
	return a.set, a.bounded
}

// withLoopback adds what a host sends to itself, which is always allowed.
func withLoopback(set *netipx.IPSet) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddSet(set)
	b.AddPrefix(netip.MustParsePrefix("127.0.0.0/8"))
	b.AddPrefix(netip.MustParsePrefix("::1/128"))
	return setOf(&b)
}

// verdict tells what was found.
func (w *policyWalk) toVerdict() *Verdict {
	if len(w.found) == 0 {
		return nil
	}
	return &Verdict{
		Unknown: !slices.ContainsFunc(w.found, func(f *finding) bool { return f.certain }),
		Reason:  v1alpha1.ReasonForeignPolicy,
		Message: "Policies of others decide before those of the operator: " + describeFindings(w.found) + ": take these hosts out of their " +
			"selectors with !has(" + v1alpha1.LabelPolicy + "), or move them to a tier after " + calico.TierName,
	}
}
