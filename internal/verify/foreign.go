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
func foreignPolicies(hosts plan.Hosts, there state.Calico) *Verdict {
	w := &walk{hosts: hosts.Calico, tiers: tiers(hosts, there), own: addressesOf(hosts.Calico), answers: map[question]answer{}}
	if !slices.ContainsFunc(w.tiers, func(t tierOf) bool { return t.ours }) {
		return nil // nothing is in place: Programmed tells
	}
	all := targets(hosts.Calico)
	for _, e := range endpointsOf(hosts, there) {
		for _, t := range all {
			switch {
			case t.iface != "" && t.iface == e.iface:
				t.address = netip.Prefix{} // there, every address is restricted
				w.endpoint(e, t)
			case t.iface == "" || t.address.IsValid():
				w.endpoint(e, t)
			}
		}
	}
	return w.verdict()
}

// targets returns what is restricted.
func targets(hosts calico.Hosts) []target {
	var out []target
	for _, component := range hosts.Components {
		what := "traffic to component " + component.Name
		for _, traffic := range component.Ports {
			out = append(out, target{
				allowed: what, denied: what, traffic: traffic, iface: component.Interface, address: component.Address,
			})
		}
	}
	if hosts.DenyUnlisted {
		out = append(out, target{allowed: "traffic that is not listed", denied: "traffic that is listed"})
	}
	return out
}

// seat is what tells endpoints of ours from each other: their labels, and the
// interface, if they are not for every one.
type seat struct {
	labels map[string]string
	iface  string
}

// endpointsOf returns one of each kind of our endpoints, with the labels that
// they are given and those that others gave them.
func endpointsOf(hosts plan.Hosts, there state.Calico) []seat {
	live := map[string]map[string]string{}
	for i := range there.Endpoints {
		live[there.Endpoints[i].Name] = there.Endpoints[i].Labels
	}
	var out []seat
	known := map[string]bool{}
	for _, object := range hosts.Objects {
		endpoint, is := object.(*v3.HostEndpoint)
		if !is {
			continue
		}
		s := seat{labels: map[string]string{}, iface: endpoint.Labels[calico.LabelInterface]}
		maps.Copy(s.labels, live[endpoint.Name])
		maps.Copy(s.labels, endpoint.Labels)
		if key := fmt.Sprint(s); !known[key] {
			known[key] = true
			out = append(out, s)
		}
	}
	return out
}

func addressesOf(hosts calico.Hosts) *netipx.IPSet {
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
type walk struct {
	hosts   calico.Hosts
	tiers   []tierOf
	own     *netipx.IPSet // the nodes' addresses, as far as they are known
	answers map[question]answer
	found   []*finding
}

// endpoint follows traffic that comes in at an endpoint, until something has
// decided about all of it.
func (w *walk) endpoint(e seat, t target) {
	for _, phase := range []dataplane.Phase{dataplane.Untracked, dataplane.PreDNAT, dataplane.Normal} {
		if phase == dataplane.Untracked && e.iface == "" {
			continue // has no effect on an endpoint for every interface
		}
		for _, tier := range w.tiers {
			if w.tier(tier, phase, e, t) {
				return
			}
			if tier.ours && phase == dataplane.Normal {
				return
			}
		}
	}
}

// tier says whether the tier decides about all of the traffic.
func (w *walk) tier(tier tierOf, phase dataplane.Phase, e seat, t target) bool {
	selecting := ""
	for _, p := range tier.policies {
		switch {
		case p.phase != phase:
			continue
		case p.unread:
			w.note(subject(p, tier), actUnread, "", false)
			continue
		case !p.selects(e.labels):
			continue
		}
		selecting = p.Name
		if decided, passed := w.policy(p, tier, t); decided || passed {
			return decided
		}
	}
	if selecting == "" || phase != dataplane.Normal || !tier.denies {
		return false
	}
	who := fmt.Sprintf("tier %s (%s selects these hosts, and the tier's default action is Deny)", tier.name, selecting)
	w.note(who, actDrop, t.denied, true)
	return true
}

// policy says whether a policy decides about all of the traffic, or passes all
// of it on to the next tier.
func (w *walk) policy(p foreign, tier tierOf, t target) (decided, passed bool) {
	for _, rule := range p.Spec.Ingress {
		for _, m := range matching(rule, t, w.own) {
			w.rule(rule.Action, m, p, tier, t)
			if m.whole && rule.Action != v3.Log {
				return rule.Action != v3.Pass, rule.Action == v3.Pass
			}
		}
	}
	return false, false
}

// rule notes what a rule does to what it matches, if that is not what ours do.
// What is done to a component's ports is told of the component alone.
func (w *walk) rule(action v3.Action, m match, p foreign, tier tierOf, t target) {
	if (t.traffic == profile.Traffic{}) && w.ofComponent(m.traffic) {
		return
	}
	switch {
	case action == v3.Allow && w.exceeds(m):
		w.note(subject(p, tier), actAllow, t.allowed, !m.unsure)
	case action == v3.Pass && p.among && w.exceeds(m):
		w.note(subject(p, tier), actPass, t.allowed, !m.unsure)
	case action == v3.Deny && !p.late && w.cuts(m):
		w.note(subject(p, tier), actDeny, t.denied, !m.unsure)
	}
}

func (w *walk) ofComponent(traffic profile.Traffic) bool {
	return slices.ContainsFunc(w.hosts.Components, func(c calico.Component) bool {
		return slices.ContainsFunc(c.Ports, func(port profile.Traffic) bool { return port.Covers(traffic) })
	})
}

// exceeds says whether more is matched than may connect to all of it.
func (w *walk) exceeds(m match) bool {
	permitted, bounded := w.permitted(m.traffic, true)
	if !bounded {
		return false
	}
	var b netipx.IPSetBuilder
	b.AddSet(m.sources)
	b.RemoveSet(permitted)
	return len(setOf(&b).Ranges()) > 0
}

// cuts says whether some is matched that may connect to some of it.
func (w *walk) cuts(m match) bool {
	permitted, bounded := w.permitted(m.traffic, false)
	return !bounded || permitted.Overlaps(m.sources)
}

// question is who may send all of the traffic, or some of it.
type question struct {
	traffic profile.Traffic
	all     bool
}

type answer struct {
	set     *netipx.IPSet
	bounded bool
}

func (w *walk) permitted(traffic profile.Traffic, all bool) (*netipx.IPSet, bool) {
	q := question{traffic, all}
	a, known := w.answers[q]
	if !known {
		a.set, a.bounded = w.hosts.Permitted(slices.Concat(w.hosts.Required, w.hosts.Listed), func(t profile.Traffic) bool {
			return all && t.Covers(traffic) || !all && t.Normal().Overlaps(traffic)
		})
		if a.bounded {
			a.set = withLoopback(a.set)
		}
		w.answers[q] = a
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
func (w *walk) verdict() *Verdict {
	if len(w.found) == 0 {
		return nil
	}
	return &Verdict{
		Unknown: !slices.ContainsFunc(w.found, func(f *finding) bool { return f.sure }),
		Reason:  v1alpha1.ReasonForeignPolicy,
		Message: "Policies of others decide before those of the operator: " + tell(w.found) + ": take these hosts out of their " +
			"selectors with !has(" + v1alpha1.LabelPolicy + "), or move them to a tier after " + calico.TierName,
	}
}
