// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
)

// rule is a rule of a policy, parsed for matching.
type rule struct {
	action                v3.Action
	ipVersion             int // 4 or 6; 0 for both
	protocol, notProtocol *ruleProtocol
	icmp, notICMP         *v3.ICMPFields
	source, destination   entity
	hasHTTP               bool
}

// ruleProtocol is the protocol of a rule; known is false for an unknown name.
type ruleProtocol struct {
	number Protocol
	known  bool
}

var protocolsByName = map[string]Protocol{
	"icmp": ICMP, "tcp": TCP, "udp": UDP, "icmpv6": ICMPv6, "sctp": SCTP, "udplite": UDPLite,
}

func ruleProtocolOf(p *numorstring.Protocol) *ruleProtocol {
	if p == nil {
		return nil
	}
	if number, err := p.NumValue(); err == nil {
		return &ruleProtocol{Protocol(number), true}
	}
	number, known := protocolsByName[strings.ToLower(p.String())]
	return &ruleProtocol{number, known}
}

func (p *ruleProtocol) matchesProtocol(protocol Protocol) answer {
	if !p.known {
		return maybe
	}
	return answerOf(p.number == protocol)
}

func (w *World) newRule(r v3.Rule) rule {
	out := rule{
		action: r.Action, protocol: ruleProtocolOf(r.Protocol), notProtocol: ruleProtocolOf(r.NotProtocol),
		icmp: r.ICMP, notICMP: r.NotICMP, source: w.newEntity(r.Source), destination: w.newEntity(r.Destination), hasHTTP: r.HTTP != nil,
	}
	switch {
	case r.IPVersion != nil:
		out.ipVersion = *r.IPVersion
	case r.Protocol == nil: // the names icmp and icmpv6 imply an IP version
	case strings.EqualFold(r.Protocol.String(), "icmp"):
		out.ipVersion = 4
	case strings.EqualFold(r.Protocol.String(), "icmpv6"):
		out.ipVersion = 6
	}
	return out
}

// matchesFlow says whether the rule matches the flow; why is the reason for an
// uncertain match.
func (r *rule) matchesFlow(w *World, f *Flow) (result answer, why string) {
	version := versionIndex(f.To)
	if r.ipVersion != 0 && r.ipVersion != []int{4, 6}[version] || !r.source.isRenderedFor(version) || !r.destination.isRenderedFor(version) {
		return no, ""
	}
	result = r.matchesProtocol(f)
	if result == no {
		return no, ""
	}
	from := r.source.matchesAddressAndPort(w, f.From, f.SourcePort, f.Protocol)
	to := r.destination.matchesAddressAndPort(w, f.To, f.Port, f.Protocol)
	result = min(result, from, to)
	if result == yes && r.hasHTTP {
		result = maybe
	}
	if result == maybe {
		why = r.whyUncertain(f, from, to)
	}
	return result, why
}

func (r *rule) matchesProtocol(f *Flow) answer {
	result := yes
	if r.protocol != nil {
		result = min(result, r.protocol.matchesProtocol(f.Protocol))
	}
	if r.notProtocol != nil {
		result = min(result, r.notProtocol.matchesProtocol(f.Protocol).not())
	}
	if r.icmp != nil {
		result = min(result, icmpMatches(r.icmp, f))
	}
	if r.notICMP != nil {
		// Without a protocol, the match depends on how Felix writes the rule.
		result = min(result, icmpMatches(r.notICMP, f).not())
		if r.protocol == nil {
			result = min(result, maybe)
		}
	}
	return result
}

func (f *Flow) isICMP() bool { return f.Protocol == []Protocol{ICMP, ICMPv6}[versionIndex(f.To)] }

func icmpMatches(fields *v3.ICMPFields, f *Flow) answer {
	switch {
	case !f.isICMP():
		return no
	case fields.Type == nil:
		return yes
	case *fields.Type != int(f.Type):
		return no
	}
	return answerOf(fields.Code == nil || *fields.Code == int(f.Code))
}

// hasICMPCode says whether the policy has a rule with an ICMP code. With nftables,
// Felix v3.31 writes such a rule in a form that nftables refuses, and Felix exits.
func hasICMPCode(p *v3.GlobalNetworkPolicy) bool {
	return slices.ContainsFunc(slices.Concat(p.Spec.Ingress, p.Spec.Egress), func(r v3.Rule) bool {
		return r.ICMP != nil && r.ICMP.Code != nil || r.NotICMP != nil && r.NotICMP.Code != nil
	})
}

// whyUncertain says why the match of the rule is uncertain.
func (r *rule) whyUncertain(f *Flow, from, to answer) string {
	switch {
	case r.hasHTTP:
		return "HTTP conditions are not modelled"
	case from == maybe:
		return "in the source, " + r.source.whyUncertain(f.SourcePort)
	case to == maybe:
		return "in the destination, " + r.destination.whyUncertain(f.Port)
	}
	if r.notICMP != nil {
		return "the rule has notICMP without a protocol"
	}
	return "the name of the protocol is unknown"
}

func (e *entity) whyUncertain(port uint16) string {
	named := func(list []numorstring.Port) bool {
		for _, p := range list {
			if p.PortName != "" {
				return true
			}
		}
		return false
	}
	switch {
	case e.unmodelled != "":
		return e.unmodelled + " are unknown"
	case e.members != nil && e.members.unreadable:
		return "a selector cannot be read"
	case named(e.ports) || named(e.notPorts):
		return "the ports are given by name"
	case port == 0 && len(e.ports)+len(e.notPorts) > 0:
		return "the port is unknown"
	}
	return workloadsUnknown
}

const workloadsUnknown = "the selector may select workloads, which are unknown"

// DependsOnWorkloads says whether a decision is Unknown only because the workloads that
// a selector selects are unknown.
func (r Reason) DependsOnWorkloads() bool { return strings.HasSuffix(r.Text, workloadsUnknown) }
