// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
)

// Judge says what becomes of a flow, where it leaves its sender, if that is a
// node, and where it arrives.
//
// Not looked at are what else is on the way: addresses that are translated
// (NodePorts, Services), other firewalls, and the policies of workloads.
func (w *World) VerdictOn(f Flow) Verdict { return w.judgeFlow(f, false) }

// Decide is Judge without the reason, whose text takes longer than the rest.
func (w *World) DecisionOn(f Flow) Decision { return w.judgeFlow(f, true).Decision }

func (w *World) judgeFlow(f Flow, quiet bool) Verdict {
	sender, receiver := w.owners[f.From], w.owners[f.To]
	if f.Node != "" {
		receiver = w.nodes[f.Node]
	}
	own := f.To.IsLoopback() || f.From.IsLoopback() || sender != nil && sender == receiver
	switch {
	case f.From.Is4() != f.To.Is4():
		return Verdict{Unknown, Reason{Rule: -1, Text: "the addresses are of different IP versions"}}
	case own && receiver == nil:
		return Verdict{Unknown, Reason{Rule: -1, Text: "it is not known which node sends this to itself"}}
	case own:
		sender, f.Interface, f.LeavesBy = receiver, loopbackInterface, loopbackInterface
	}
	j := &judgement{world: w, flow: &f, withoutReasons: quiet}
	result := allowedBecause(Reason{Rule: -1, Text: "no node of the cluster is the sender, or the receiver"})
	if sender != nil {
		result = j.judgeAtNode(sender, egress, f.LeavesBy)
	}
	if receiver != nil {
		result = result.andThen(func() outcomes { return j.judgeAtNode(receiver, ingress, f.Interface) })
	}
	return result.toVerdict(j.doubts)
}

// judgement is about one flow.
type judgement struct {
	world          *World
	flow           *Flow
	withoutReasons bool // nobody asks why
	doubts         []Reason
}

// at is where a flow is: at an endpoint of a node, going out or coming in.
type checkpoint struct {
	host           *host
	endpoint       *endpoint
	direction      int
	withoutReasons bool
}

// because is a reason that is no policy's.
func (a checkpoint) newReason(format string, args ...any) Reason {
	if a.withoutReasons {
		return Reason{}
	}
	r := Reason{Node: a.host.Name, Egress: a.direction == egress, Rule: -1, Text: fmt.Sprintf(format, args...)}
	if a.endpoint != nil {
		r.Endpoint = a.endpoint.spec.Name
	}
	r.Text += ", on node " + a.host.Name
	if r.Egress {
		r.Text += ", where it leaves"
	}
	return r
}

// by is the reason that a policy is, with a rule, or the end of its tier.
func (a checkpoint) policyReason(t *tier, p *policy, index int, action v3.Action) Reason {
	if a.withoutReasons {
		return Reason{}
	}
	text := fmt.Sprintf("%s by rule %d of GlobalNetworkPolicy %s (tier %s)", action, index+1, p.spec.Name, t.name)
	if index < 0 {
		text = fmt.Sprintf("the end of tier %s, whose default action is Deny, and of which GlobalNetworkPolicy %s selects HostEndpoint %s",
			t.name, p.spec.Name, a.endpoint.spec.Name)
	}
	r := a.newReason("%s", text)
	r.Tier, r.Policy, r.Rule = t.name, p.spec.Name, index
	return r
}

// pass is what is possible at a node.
func (j *judgement) judgeAtNode(h *host, direction int, iface string) outcomes {
	where := checkpoint{host: h, direction: direction, withoutReasons: j.withoutReasons}
	f := j.flow
	switch {
	case len(h.endpoints) == 0 && j.world.felixSettingsOn(h).unmodelled != "":
		return allowedBecause(where.newReason("no HostEndpoint is on the node"))
	case j.world.felixSettingsOn(h).unmodelled != "":
		return unknownBecause(where.newReason("%s", j.world.felixSettingsOn(h).unmodelled))
	case f.To.Is6() && j.world.felixSettingsOn(h).ignoresIPv6:
		return allowedBecause(where.newReason("Felix leaves IPv6 alone (ipv6Support is false)"))
	}
	if strings.HasPrefix(iface, workloadPrefix) {
		return unknownBecause(where.newReason("policies of workloads are not modelled"))
	}
	if o, decided := j.judgeEncapsulation(where); decided {
		return o
	}
	var result outcomes
	for _, e := range h.endpointsGoverning(iface) {
		where.endpoint = e
		result = result.or(j.judgeAtEndpoint(where))
	}
	return result
}

// endpoint is what is possible at an endpoint that governs the interface.
func (j *judgement) judgeAtEndpoint(where checkpoint) outcomes {
	if where.endpoint == nil {
		return allowedBecause(where.newReason("no HostEndpoint governs the interface"))
	}
	safe, other := j.world.felixSettingsOn(where.host).inbound, j.flow.From
	if where.direction == egress {
		safe, other = j.world.felixSettingsOn(where.host).outbound, j.flow.To
	}
	if safe.isOpenTo(j.flow, other) {
		return allowedBecause(where.newReason("failsafe port %d of %s", j.flow.Port, safe.source))
	}
	if r := j.whyUnmodelled(where); r != nil {
		return unknownBecause(*r)
	}
	normal := func() outcomes {
		return j.judgeTiers(where, Normal, func() outcomes { return j.judgeProfiles(where) })
	}
	early := func() outcomes { return j.judgeTiers(where, PreDNAT, normal) }
	if where.endpoint.isForEveryInterface() {
		return early() // policies that are not tracked have no effect on it
	}
	return j.judgeUntracked(where, early)
}

// beyond returns what about an endpoint is not modelled.
func (j *judgement) whyUnmodelled(where checkpoint) *Reason {
	for _, profile := range where.endpoint.spec.Spec.Profiles {
		if profile != profileDefaultAllow {
			r := where.newReason("HostEndpoint %s has the profile %s, which is not known: it brings labels and rules of its own",
				where.endpoint.spec.Name, profile)
			return &r
		}
	}
	if !j.world.felixSettingsOn(where.host).maybeNFTables {
		return nil
	}
	i := slices.IndexFunc(j.world.policiesSelecting(where.endpoint), func(p *policy) bool { return hasICMPCode(p.spec) })
	if i < 0 {
		return nil
	}
	r := where.newReason("GlobalNetworkPolicy %s has a rule with a code of ICMP, with which Felix ends where it uses nftables",
		where.endpoint.policies[i].spec.Name)
	return &r
}

// untracked evaluates the policies that are not tracked. With them, answers are
// judged one by one as well, which is not modelled: only what they deny is sure.
func (j *judgement) judgeUntracked(where checkpoint, next func() outcomes) outcomes {
	w, e := j.world, where.endpoint
	if len(w.tiersSelecting(e, ingress, Untracked))+len(w.tiersSelecting(e, egress, Untracked)) == 0 {
		return next()
	}
	result := j.judgeTiers(where, Untracked, next)
	if result.allowed != nil {
		r := where.newReason("doNotTrack policies select HostEndpoint %s, so that answers are judged as well, which is not modelled", e.spec.Name)
		result.allowed, result.unknown = nil, &r
	}
	return result
}

// tiers evaluates the tiers of a phase. What none of them decides is decided by
// what is next.
func (j *judgement) judgeTiers(where checkpoint, phase Phase, next func() outcomes) outcomes {
	sections := j.world.tiersSelecting(where.endpoint, where.direction, phase)
	var from func(i int) outcomes
	from = func(i int) outcomes {
		if i == len(sections) {
			return next()
		}
		return j.judgeTier(where, phase, sections[i], callOnce(func() outcomes { return from(i + 1) }))
	}
	return from(0)
}

// once has f called at most once.
func callOnce(f func() outcomes) func() outcomes {
	var result *outcomes
	return func() outcomes {
		if result == nil {
			o := f()
			result = &o
		}
		return *result
	}
}

// section evaluates one tier.
func (j *judgement) judgeTier(where checkpoint, phase Phase, s tierPolicies, next func() outcomes) outcomes {
	var result outcomes
	if s.tier.missing {
		return unknownBecause(where.newReason("GlobalNetworkPolicy %s is of tier %s, which is not there", s.policies[0].spec.Name, s.tier.name))
	}
	var last *policy // that selects the endpoint
	for _, p := range s.policies {
		o, decided := j.judgePolicy(where, s.tier, p, next)
		result = result.or(o)
		if decided {
			return result
		}
		if !p.unreadable {
			last = p
		}
	}
	// Before the normal ones, no tier denies by default.
	if phase != Normal || s.tier.passes {
		return result.or(next())
	}
	if last == nil { // of none is it known that it selects the endpoint
		result = result.or(next())
		last = s.policies[0]
	}
	return result.or(deniedBecause(where.policyReason(s.tier, last, -1, v3.Deny)))
}

// policy evaluates the rules of a policy, until one decides.
func (j *judgement) judgePolicy(where checkpoint, t *tier, p *policy, next func() outcomes) (result outcomes, decided bool) {
	rules := p.rulesFor(j.world, where.direction)
	for i := range rules {
		r := &rules[i]
		if r.action == v3.Log {
			continue
		}
		match, why := r.matchesFlow(j.world, j.flow)
		if match == yes && p.unreadable {
			match, why = maybe, "the policy's selector can not be read"
		}
		if match == no {
			continue
		}
		reason := where.policyReason(t, p, i, r.action)
		if match == maybe {
			reason.Text += ": " + why
			j.doubts = append(j.doubts, reason)
		}
		result = result.or(j.outcomeOfAction(r.action, reason, next))
		if match == yes {
			return result, true
		}
	}
	return result, false
}

func (j *judgement) outcomeOfAction(action v3.Action, reason Reason, next func() outcomes) outcomes {
	switch action {
	case v3.Allow:
		return allowedBecause(reason)
	case v3.Deny:
		return deniedBecause(reason)
	case v3.Pass:
		return next()
	}
	return unknownBecause(reason)
}

// profiles is what becomes of what no tier decides.
func (j *judgement) judgeProfiles(where checkpoint) outcomes {
	if len(where.endpoint.spec.Spec.Profiles) > 0 {
		return allowedBecause(where.newReason("profile %s of HostEndpoint %s", profileDefaultAllow, where.endpoint.spec.Name))
	}
	return deniedBecause(where.newReason("no policy decides, and HostEndpoint %s has no profile", where.endpoint.spec.Name))
}
