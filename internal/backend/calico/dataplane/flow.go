// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
)

// Protocol is the number of an IP protocol.
type Protocol uint8

// The protocols with a name in Calico.
const (
	ICMP    Protocol = 1
	TCP     Protocol = 6
	UDP     Protocol = 17
	ICMPv6  Protocol = 58
	SCTP    Protocol = 132
	UDPLite Protocol = 136
)

// Flow is the first packet of a new connection, or of a new exchange, to a host.
// Packets of established connections pass whatever a policy says.
type Flow struct {
	From, To netip.Addr
	// Node is the receiving host. Without Node, the node with the address To receives
	// the flow; if no node has the address, only the sending side is judged.
	Node string
	// Interface is the interface of arrival. Empty means any interface but loopback;
	// flows of a node to itself always use loopback.
	Interface string
	// LeavesBy is the interface by which the flow leaves the sender; empty means any.
	LeavesBy string

	Protocol Protocol
	// Port is the destination port and SourcePort the source port, for protocols with
	// ports; 0 means unknown.
	Port, SourcePort uint16
	// Type and Code are for ICMP and ICMPv6.
	Type, Code uint8
}

// hasPorts says whether the protocol has ports.
func (p Protocol) hasPorts() bool { return p == TCP || p == UDP || p == SCTP || p == UDPLite }

func (p Protocol) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMPv6:
		return "icmpv6"
	case SCTP:
		return "sctp"
	case UDPLite:
		return "udplite"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

func (f Flow) String() string {
	what := f.Protocol.String()
	switch {
	case f.Protocol.hasPorts():
		what = fmt.Sprintf("%s/%d", f.Protocol, f.Port)
	case f.Protocol == ICMP || f.Protocol == ICMPv6:
		what = fmt.Sprintf("%s type %d code %d", f.Protocol, f.Type, f.Code)
	}
	text := fmt.Sprintf("%s from %s to %s", what, f.From, f.To)
	if f.Interface != "" {
		text += " by " + f.Interface
	}
	return text
}

// Decision says whether the dataplane lets a flow through.
type Decision string

// The decisions. Unknown means that the decision depends on unmodelled or unknown facts.
const (
	Allowed Decision = "Allowed"
	Denied  Decision = "Denied"
	Unknown Decision = "Unknown"
)

// Verdict is a decision with its reason.
type Verdict struct {
	Decision Decision
	Reason   Reason
}

func (v Verdict) String() string { return fmt.Sprintf("%s: %s", v.Decision, v.Reason) }

// Reason tells the rule or setting that decides about a flow, or that makes the
// decision Unknown.
type Reason struct {
	// Node is the deciding node, and Endpoint the HostEndpoint that governs the
	// interface there; empty if there is none.
	Node, Endpoint string
	// Egress says that the decision is about leaving the node, not about arriving.
	Egress bool
	// Tier and Policy are set if a GlobalNetworkPolicy decides. Rule is the index of
	// the deciding rule, or -1 for the end of the tier.
	Tier, Policy string
	Rule         int
	// Text says all of the above in words.
	Text string
}

func (r Reason) String() string { return r.Text }

// outcomes are the possible decisions, each with the reason; nil for an impossible
// decision.
type outcomes struct{ allowed, denied, unknown *Reason }

func allowedBecause(r Reason) outcomes { return outcomes{allowed: &r} }
func deniedBecause(r Reason) outcomes  { return outcomes{denied: &r} }
func unknownBecause(r Reason) outcomes { return outcomes{unknown: &r} }

// or returns the outcomes that are possible in either case. The reasons of the first
// case are kept.
func (o outcomes) or(other outcomes) outcomes {
	if o.allowed == nil {
		o.allowed = other.allowed
	}
	if o.denied == nil {
		o.denied = other.denied
	}
	if o.unknown == nil {
		o.unknown = other.unknown
	}
	return o
}

// andThen returns the outcomes if both the first and the next step must allow. The
// reason for Allowed is that of the next step. A doubt of the first step does not
// matter where the next step denies.
func (o outcomes) andThen(next func() outcomes) outcomes {
	if o.allowed == nil && o.unknown == nil {
		return o
	}
	after := next()
	if after.allowed == nil && after.unknown == nil {
		return outcomes{denied: o.denied}.or(after)
	}
	o.allowed = nil
	return o.or(after)
}

// toVerdict is certain if a single decision is possible. Otherwise the verdict gives
// the first doubt.
func (o outcomes) toVerdict(doubts []Reason) Verdict {
	switch {
	case o.unknown != nil:
		return Verdict{Unknown, *o.unknown}
	case o.denied == nil && o.allowed != nil:
		return Verdict{Allowed, *o.allowed}
	case o.allowed == nil && o.denied != nil:
		return Verdict{Denied, *o.denied}
	case len(doubts) > 0:
		return Verdict{Unknown, doubts[0]}
	}
	return Verdict{Unknown, Reason{Node: o.denied.Node, Egress: o.denied.Egress, Rule: -1, Text: fmt.Sprintf(
		"either %s, or %s: the interface of the flow is unknown", *o.allowed, *o.denied)}}
}
