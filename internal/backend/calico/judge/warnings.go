// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// ForeignPolicyWarnings describes optional flows of the profile that foreign policies
// would deny once the operator's host endpoints are on the nodes, with the denying
// rules; nil if there are none. A warning is no reason not to write: an optional flow
// serves a feature that the cluster can miss for a while, or may not have.
//
// Not reported are restrictions of the policy, flows that are denied without the
// operator too, and doubts that come only from unknown pods in a selector.
func ForeignPolicyWarnings(hosts plan.Hosts, nodes []dataplane.Node, live calico.Live, writes []Write) []string {
	if len(hosts.RequiredFlows.Optional) == 0 || !selectedByForeign(hosts, live) {
		return nil
	}
	l := &lockoutCheck{required: hosts.RequiredFlows, live: live}
	l.copyLists()
	for _, write := range writes {
		l.applyWrite(write)
	}
	after, without := dataplane.NewWorld(l.live, nodes), dataplane.NewWorld(withoutPolicy(hosts.Whole.Policy, live), nodes)
	classes := after.BuildClasses().CombineWith(without.BuildClasses())
	required := hosts.RequiredFlows
	required.Parties = maps.Clone(required.Parties)
	required.Parties[profile.RoleAny] = slices.Concat(required.Parties[profile.RoleNodes], representativesOfAll(classes))
	j := &flowJudge{world: after, ignoredWorld: without, classes: classes, required: required, parties: map[party][]*dataplane.Group{}}
	for _, flow := range required.Optional {
		if flow.To == profile.RoleAny {
			j.judgeLeaving(flow)
			continue
		}
		j.judgeFlow(flow)
	}
	denied := slices.DeleteFunc(j.cuts, func(c Cut) bool {
		reason := c.Verdict.Reason
		return reason.Tier == calico.TierName || c.isUncertain() && reason.DependsOnWorkloads()
	})
	return describeWarnings(denied)
}

// selectedByForeign says whether a foreign policy may select a managed endpoint. In
// most clusters there is no such policy, and no need to judge flows.
func selectedByForeign(hosts plan.Hosts, live calico.Live) bool {
	kinds := endpointKindsOf(plan.Hosts{Objects: hosts.WholeObjects}, live)
	return slices.ContainsFunc(live.Policies, func(p v3.GlobalNetworkPolicy) bool {
		if p.Labels[v1alpha1.LabelPolicy] != "" {
			return false
		}
		selects, unreadable := dataplane.HostSelectorOf(p.Spec)
		return unreadable || slices.ContainsFunc(kinds, func(s endpointKind) bool { return selects(s.labels) })
	})
}

// withoutPolicy returns the Calico objects without the objects written for a policy.
func withoutPolicy(policy string, live calico.Live) calico.Live {
	live.Policies = withoutManagedBy(live.Policies, policy, func(o *v3.GlobalNetworkPolicy) map[string]string { return o.Labels })
	live.Sets = withoutManagedBy(live.Sets, policy, func(o *v3.GlobalNetworkSet) map[string]string { return o.Labels })
	live.Endpoints = withoutManagedBy(live.Endpoints, policy, func(o *v3.HostEndpoint) map[string]string { return o.Labels })
	live.Felix = withoutManagedBy(live.Felix, policy, func(o *v3.FelixConfiguration) map[string]string { return o.Labels })
	return live
}

func withoutManagedBy[T any](list []T, policy string, labels func(*T) map[string]string) []T {
	var out []T
	for i := range list {
		if labels(&list[i])[v1alpha1.LabelPolicy] != policy {
			out = append(out, list[i])
		}
	}
	return out
}

// wideNetworks are public and private networks that stand for all machines. The profile
// leaves the addresses open: each network is represented by an address of the largest
// class.
var wideNetworks = []netip.Prefix{
	netip.MustParsePrefix("128.0.0.0/2"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7"),
}

func representativesOfAll(classes *dataplane.Classes) []netip.Prefix {
	var out []netip.Prefix
	for _, net := range wideNetworks {
		address := classes.MostCommonAddress(net)
		out = append(out, netip.PrefixFrom(address, address.BitLen()))
	}
	return out
}

// judgeLeaving judges flows from protected nodes to any machine, or to the destinations
// of the flow.
func (j *flowJudge) judgeLeaving(flow profile.Flow) {
	receivers := j.groupsOf(party{profile.RoleAny, false})
	if len(flow.Destinations) > 0 {
		receivers = nil
		for _, net := range flow.Destinations {
			receivers = append(receivers, &dataplane.Group{Addresses: []netip.Addr{j.classes.MostCommonAddress(net)}})
		}
	}
	for _, receiver := range receivers {
		for _, traffic := range flow.Traffic {
			for _, f := range representativeFlows(traffic, receiver.Addresses[0], j.classes.RepresentativePorts) {
				f.To = receiver.Addresses[0]
				for _, role := range flow.From {
					for _, sender := range j.groupsOf(party{role, true}) {
						j.judgeBetween(flow, f, sender, receiver)
					}
				}
			}
		}
	}
}

// denial is the effect of a rule, or of the end of a tier, on flows.
type denial struct {
	by        string
	uncertain bool
	flows     []string
	example   dataplane.Flow
}

// describeWarnings describes each denying rule once, with the denied flows.
func describeWarnings(cuts []Cut) []string {
	var denials []*denial
	for _, c := range cuts {
		by := describeDenier(c.Verdict.Reason)
		i := slices.IndexFunc(denials, func(l *denial) bool { return l.by == by && l.uncertain == c.isUncertain() })
		if i < 0 {
			i = len(denials)
			denials = append(denials, &denial{by: by, uncertain: c.isUncertain(), example: c.Flow})
		}
		denials[i].flows = wording.AppendUnique(denials[i].flows, c.Name)
	}
	if len(denials) == 0 {
		return nil
	}
	lines := make([]string, 0, len(denials))
	for _, l := range denials {
		verb := "would be denied by"
		if l.uncertain {
			verb = "may be denied by"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s (such as %s)", wording.ListNames(l.flows), verb, l.by, l.example))
	}
	return []string{"the operator's host endpoints bring these nodes under foreign policies: " + wording.ListPoints(lines) +
		". Where a policy is not meant for these hosts, exclude the hosts from the selector of the policy " +
		"with !has(" + v1alpha1.LabelPolicy + ")"}
}

// describeDenier names the deciding rule, tier or setting.
func describeDenier(r dataplane.Reason) string {
	switch {
	case r.Policy == "":
		return r.Text
	case r.Rule < 0:
		return fmt.Sprintf("the end of tier %s, because GlobalNetworkPolicy %s of the tier selects the hosts", r.Tier, r.Policy)
	}
	return fmt.Sprintf("rule %d of GlobalNetworkPolicy %s (tier %s)", r.Rule+1, r.Policy, r.Tier)
}
