// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
)

// VerdictOn judges a flow where the flow leaves its sender, if the sender is a node,
// and where the flow arrives.
//
// Other things on the way are not judged: translation of addresses (NodePorts,
// Services), other firewalls, and the policies of workloads.
func (w *World) VerdictOn(f Flow) Verdict { return w.judgeFlow(f, false) }

// DecisionOn is VerdictOn without the reason; the text of a reason takes longer than
// all the rest.
func (w *World) DecisionOn(f Flow) Decision { return w.judgeFlow(f, true).Decision }

func (w *World) judgeFlow(f Flow, withoutReasons bool) Verdict {
	sender, receiver := w.owners[f.From], w.owners[f.To]
	if f.Node != "" {
		receiver = w.nodes[f.Node]
	}
	toItself := f.To.IsLoopback() || f.From.IsLoopback() || sender != nil && sender == receiver
	switch {
	case f.From.Is4() != f.To.Is4():
		return Verdict{Unknown, Reason{Rule: -1, Text: "the addresses are of different IP versions"}}
	case toItself && receiver == nil:
		return Verdict{Unknown, Reason{Rule: -1, Text: "the node that sends the flow to itself is unknown"}}
	case toItself:
		sender, f.Interface, f.LeavesBy = receiver, loopbackInterface, loopbackInterface
	}
	j := &judgement{world: w, flow: &f, withoutReasons: withoutReasons}
	result := allowedBecause(Reason{Rule: -1, Text: "neither the sender nor the receiver is a node of the cluster"})
	if sender != nil {
		result = j.judgeAtNode(sender, egress, f.LeavesBy)
	}
	if receiver != nil {
		result = result.andThen(func() outcomes { return j.judgeAtNode(receiver, ingress, f.Interface) })
	}
	return result.toVerdict(j.doubts)
}

// judgement is the state of judging one flow.
type judgement struct {
	world          *World
	flow           *Flow
	withoutReasons bool // the caller needs no reasons
	doubts         []Reason
}

// checkpoint is where a flow is judged: on leaving or entering a node, at an endpoint.
type checkpoint struct {
	host           *host
	endpoint       *endpoint
	direction      int
	withoutReasons bool
}

// newReason returns a reason other than a policy.
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
		r.Text += " (outgoing)"
	}
	return r
}

// policyReason returns a policy as the reason, with a rule, or with the end of the tier
// if index is negative.
func (a checkpoint) policyReason(t *tier, p *policy, index int, action v3.Action) Reason {
	if a.withoutReasons {
		return Reason{}
	}
	text := fmt.Sprintf("%s by rule %d of GlobalNetworkPolicy %s (tier %s)", action, index+1, p.spec.Name, t.name)
	if index < 0 {
		text = fmt.Sprintf("the end of tier %s (default action Deny; GlobalNetworkPolicy %s of the tier selects HostEndpoint %s)",
			t.name, p.spec.Name, a.endpoint.spec.Name)
	}
	r := a.newReason("%s", text)
	r.Tier, r.Policy, r.Rule = t.name, p.spec.Name, index
	return r
}

// judgeAtNode returns the possible outcomes at a node.
func (j *judgement) judgeAtNode(h *host, direction int, iface string) outcomes {
	where := checkpoint{host: h, direction: direction, withoutReasons: j.withoutReasons}
	f := j.flow
	switch {
	case len(h.endpoints) == 0 && j.world.felixSettingsOn(h).unmodelled != "":
		return allowedBecause(where.newReason("no HostEndpoint is on the node"))
	case j.world.felixSettingsOn(h).unmodelled != "":
		return unknownBecause(where.newReason("%s", j.world.felixSettingsOn(h).unmodelled))
	case f.To.Is6() && j.world.felixSettingsOn(h).ignoresIPv6:
		return allowedBecause(where.newReason("Felix does not filter IPv6 (ipv6Support is false)"))
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

// judgeAtEndpoint returns the possible outcomes at an endpoint that governs the
// interface.
func (j *judgement) judgeAtEndpoint(where checkpoint) outcomes {
	if where.endpoint == nil {
		return allowedBecause(where.newReason("no HostEndpoint governs the interface"))
	}
	failsafes, other := j.world.felixSettingsOn(where.host).inbound, j.flow.From
	if where.direction == egress {
		failsafes, other = j.world.felixSettingsOn(where.host).outbound, j.flow.To
	}
	if failsafes.isOpenTo(j.flow, other) {
		return allowedBecause(where.newReason("failsafe port %d of %s", j.flow.Port, failsafes.source))
	}
	if r := j.whyUnmodelled(where); r != nil {
		return unknownBecause(*r)
	}
	normal := func() outcomes {
		return j.judgeTiers(where, Normal, func() outcomes { return j.judgeProfiles(where) })
	}
	early := func() outcomes { return j.judgeTiers(where, PreDNAT, normal) }
	if where.endpoint.isForEveryInterface() {
		return early() // untracked policies have no effect on such an endpoint
	}
	return j.judgeUntracked(where, early)
}

// whyUnmodelled returns the property of an endpoint that is not modelled; nil if there
// is none.
func (j *judgement) whyUnmodelled(where checkpoint) *Reason {
	for _, profile := range where.endpoint.spec.Spec.Profiles {
		if profile != profileDefaultAllow {
			r := where.newReason("HostEndpoint %s has the profile %s, whose labels and rules are not modelled",
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
	r := where.newReason("GlobalNetworkPolicy %s has a rule with an ICMP code, and Felix exits on such a rule with nftables",
		where.endpoint.policies[i].spec.Name)
	return &r
}

// judgeUntracked evaluates the untracked policies. An endpoint with untracked policies
// judges every answer packet too, without connection tracking. Answers are not
// modelled, so that only a denial is certain.
func (j *judgement) judgeUntracked(where checkpoint, next func() outcomes) outcomes {
	w, e := j.world, where.endpoint
	if len(w.tiersSelecting(e, ingress, Untracked))+len(w.tiersSelecting(e, egress, Untracked)) == 0 {
		return next()
	}
	result := j.judgeTiers(where, Untracked, next)
	if result.allowed != nil {
		r := where.newReason("doNotTrack policies select HostEndpoint %s, and the answers to untracked flows are not modelled", e.spec.Name)
		result.allowed, result.unknown = nil, &r
	}
	return result
}

// judgeTiers evaluates the tiers of a phase. A flow that no tier decides about goes to
// the next phase.
func (j *judgement) judgeTiers(where checkpoint, phase Phase, next func() outcomes) outcomes {
	tiers := j.world.tiersSelecting(where.endpoint, where.direction, phase)
	var from func(i int) outcomes
	from = func(i int) outcomes {
		if i == len(tiers) {
			return next()
		}
		return j.judgeTier(where, phase, tiers[i], callOnce(func() outcomes { return from(i + 1) }))
	}
	return from(0)
}

// callOnce makes a function be called at most once, and keeps its result.
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

// judgeTier evaluates one tier.
func (j *judgement) judgeTier(where checkpoint, phase Phase, s tierPolicies, next func() outcomes) outcomes {
	var result outcomes
	if s.tier.missing {
		return unknownBecause(where.newReason("GlobalNetworkPolicy %s names tier %s, which does not exist", s.policies[0].spec.Name, s.tier.name))
	}
	var last *policy // last policy that selects the endpoint
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
	// A tier denies by default only in the normal phase.
	if phase != Normal || s.tier.passes {
		return result.or(next())
	}
	if last == nil { // no policy selects the endpoint for certain
		result = result.or(next())
		last = s.policies[0]
	}
	return result.or(deniedBecause(where.policyReason(s.tier, last, -1, v3.Deny)))
}

// judgePolicy evaluates the rules of a policy until a rule decides.
func (j *judgement) judgePolicy(where checkpoint, t *tier, p *policy, next func() outcomes) (result outcomes, decided bool) {
	rules := p.rulesFor(j.world, where.direction)
	for i := range rules {
		r := &rules[i]
		if r.action == v3.Log {
			continue
		}
		match, why := r.matchesFlow(j.world, j.flow)
		if match == yes && p.unreadable {
			match, why = maybe, "the policy's selector cannot be read"
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

// judgeProfiles decides about a flow after all tiers have passed the flow on.
func (j *judgement) judgeProfiles(where checkpoint) outcomes {
	if len(where.endpoint.spec.Spec.Profiles) > 0 {
		return allowedBecause(where.newReason("profile %s of HostEndpoint %s", profileDefaultAllow, where.endpoint.spec.Name))
	}
	return deniedBecause(where.newReason("no policy decides, and HostEndpoint %s has no profile", where.endpoint.spec.Name))
}
