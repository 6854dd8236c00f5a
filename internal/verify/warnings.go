// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Warnings tells which flows of the profile that are not required the policies of
// others deny once the operator's host endpoints are on the nodes, and which rules
// do: nil if there are none. That is no reason not to write: such a flow is needed by
// something that the cluster can be without for a while, or may not have. What the
// policy itself restricts is not told, nor what is denied without the operator too, nor
// that pods may be among those whom a rule is for.
func Warnings(hosts plan.Hosts, nodes []dataplane.Node, there state.Calico, writes []Write) []string {
	if len(hosts.Lifelines.Optional) == 0 || !selectedByOthers(hosts, there) {
		return nil
	}
	l := &lockout{lines: hosts.Lifelines, there: there}
	l.copy()
	for _, write := range writes {
		l.write(write)
	}
	after, without := dataplane.New(l.there, nodes), dataplane.New(withoutPolicy(hosts.Whole.Policy, there), nodes)
	classes := after.Classes().And(without.Classes())
	lines := hosts.Lifelines
	lines.Parties = maps.Clone(lines.Parties)
	lines.Parties[profile.RoleAny] = slices.Concat(lines.Parties[profile.RoleNodes], anybody(classes))
	j := &judge{world: after, unless: without, classes: classes, lines: lines, parties: map[party][]*dataplane.Group{}}
	for _, flow := range lines.Optional {
		if flow.To == profile.RoleAny {
			j.leaving(flow)
			continue
		}
		j.flow(flow)
	}
	losses := slices.DeleteFunc(j.cuts, func(c Cut) bool {
		reason := c.Verdict.Reason
		return reason.Tier == calico.TierName || c.unsure() && reason.OfWorkloads()
	})
	return tellWarnings(losses)
}

// selectedByOthers says whether a policy of others may select one of the operator's
// endpoints: most clusters have none, and nothing is to be judged there.
func selectedByOthers(hosts plan.Hosts, there state.Calico) bool {
	seats := endpointsOf(plan.Hosts{Objects: hosts.WholeObjects}, there)
	return slices.ContainsFunc(there.Policies, func(p v3.GlobalNetworkPolicy) bool {
		if p.Labels[v1alpha1.LabelPolicy] != "" {
			return false
		}
		selects, unread := dataplane.Selection(p.Spec)
		return unread || slices.ContainsFunc(seats, func(s seat) bool { return selects(s.labels) })
	})
}

// withoutPolicy returns what there would be of Calico without what was written for a
// policy.
func withoutPolicy(policy string, there state.Calico) state.Calico {
	there.Policies = others(there.Policies, policy, func(o *v3.GlobalNetworkPolicy) map[string]string { return o.Labels })
	there.Sets = others(there.Sets, policy, func(o *v3.GlobalNetworkSet) map[string]string { return o.Labels })
	there.Endpoints = others(there.Endpoints, policy, func(o *v3.HostEndpoint) map[string]string { return o.Labels })
	there.Felix = others(there.Felix, policy, func(o *v3.FelixConfiguration) map[string]string { return o.Labels })
	return there
}

func others[T any](list []T, policy string, labels func(*T) map[string]string) []T {
	var out []T
	for i := range list {
		if labels(&list[i])[v1alpha1.LabelPolicy] != policy {
			out = append(out, list[i])
		}
	}
	return out
}

// wide are networks that stand for everybody: public addresses, and private ones. Who
// is meant by the profile is not known: of each, it is those that most rules treat
// alike.
var wide = []netip.Prefix{
	netip.MustParsePrefix("128.0.0.0/2"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7"),
}

func anybody(classes *dataplane.Classes) []netip.Prefix {
	var out []netip.Prefix
	for _, net := range wide {
		address := classes.Common(net)
		out = append(out, netip.PrefixFrom(address, address.BitLen()))
	}
	return out
}

// leaving judges what protected nodes send to everybody, or to the addresses that the
// flow is for.
func (j *judge) leaving(flow profile.Flow) {
	receivers := j.of(party{profile.RoleAny, false})
	if len(flow.Destinations) > 0 {
		receivers = nil
		for _, net := range flow.Destinations {
			receivers = append(receivers, &dataplane.Group{Addresses: []netip.Addr{j.classes.Common(net)}})
		}
	}
	for _, receiver := range receivers {
		for _, traffic := range flow.Traffic {
			for _, f := range packets(traffic, receiver.Addresses[0], j.classes.Ports) {
				f.To = receiver.Addresses[0]
				for _, role := range flow.From {
					for _, sender := range j.of(party{role, true}) {
						j.between(flow, f, sender, receiver)
					}
				}
			}
		}
	}
}

// loss is what one rule, or the end of a tier, does to flows.
type loss struct {
	by     string
	unsure bool
	flows  []string
	such   dataplane.Flow
}

// tellWarnings tells each rule once, with the flows that it denies.
func tellWarnings(cuts []Cut) []string {
	var losses []*loss
	for _, c := range cuts {
		by := denier(c.Verdict.Reason)
		i := slices.IndexFunc(losses, func(l *loss) bool { return l.by == by && l.unsure == c.unsure() })
		if i < 0 {
			i = len(losses)
			losses = append(losses, &loss{by: by, unsure: c.unsure(), such: c.Flow})
		}
		losses[i].flows = appendNew(losses[i].flows, c.Name)
	}
	if len(losses) == 0 {
		return nil
	}
	lines := make([]string, 0, len(losses))
	for _, l := range losses {
		verb := "would be denied by"
		if l.unsure {
			verb = "may be denied by"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s (such as %s)", wording.Names(l.flows), verb, l.by, l.such))
	}
	return []string{"the operator's host endpoints bring these nodes under policies of others: " + wording.Points(lines) +
		". Where these hosts are not meant, take them out of the selector with !has(" + v1alpha1.LabelPolicy + ")"}
}

// denier names what decides.
func denier(r dataplane.Reason) string {
	switch {
	case r.Policy == "":
		return r.Text
	case r.Rule < 0:
		return fmt.Sprintf("the end of tier %s, of which GlobalNetworkPolicy %s selects them", r.Tier, r.Policy)
	}
	return fmt.Sprintf("rule %d of GlobalNetworkPolicy %s (tier %s)", r.Rule+1, r.Policy, r.Tier)
}
