// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
)

// Protocol is the number of a protocol of IP.
type Protocol uint8

// The protocols that Calico has names for.
const (
	ICMP    Protocol = 1
	TCP     Protocol = 6
	UDP     Protocol = 17
	ICMPv6  Protocol = 58
	SCTP    Protocol = 132
	UDPLite Protocol = 136
)

// Flow is the first packet of something new that is sent to a host. What
// belongs to an established connection passes, whatever a policy says.
type Flow struct {
	From, To netip.Addr
	// Node is the host that it is sent to. Without it, it is the node that has
	// the address To; if none has it, only what leaves the sender is judged.
	Node string
	// Interface is by which it arrives. Empty, it may be any but loopback; what
	// a node sends to itself always goes through loopback.
	Interface string
	// LeavesBy is the interface by which it leaves the sender; empty, it may be
	// any.
	LeavesBy string

	Protocol Protocol
	// Port is where it is sent to, SourcePort where it is from, 0 if that is
	// not known. For protocols that have ports.
	Port, SourcePort uint16
	// Type and Code are those of ICMP and ICMPv6.
	Type, Code uint8
}

// ported says whether the protocol has ports.
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

// Decision is what becomes of a flow.
type Decision string

// The decisions. Unknown means that it depends on what is not modelled, or not
// known.
const (
	Allowed Decision = "Allowed"
	Denied  Decision = "Denied"
	Unknown Decision = "Unknown"
)

// Verdict is a decision with what decides.
type Verdict struct {
	Decision Decision
	Reason   Reason
}

func (v Verdict) String() string { return fmt.Sprintf("%s: %s", v.Decision, v.Reason) }

// Reason is what decides about a flow, or what makes it Unknown.
type Reason struct {
	// Node is where that is, and Endpoint the HostEndpoint that governs the
	// interface there; empty if none does.
	Node, Endpoint string
	// Egress says that it is about what leaves the node.
	Egress bool
	// Tier and Policy are set if a GlobalNetworkPolicy decides. Rule is the
	// index of its rule, or -1: the end of the tier.
	Tier, Policy string
	Rule         int
	// Text tells all of that.
	Text string
}

func (r Reason) String() string { return r.Text }

// outcomes are the decisions that are possible, each with what would decide.
type outcomes struct{ allowed, denied, unknown *Reason }

func allowedBecause(r Reason) outcomes { return outcomes{allowed: &r} }
func deniedBecause(r Reason) outcomes  { return outcomes{denied: &r} }
func unknownBecause(r Reason) outcomes { return outcomes{unknown: &r} }

// or returns what is possible of either. What was there first is what is told.
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

// then is what is possible where both must allow. It is told why the second
// one does. What is not known of the first does not matter where the second one
// denies.
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

// verdict is sure if one decision only is possible. Otherwise it tells the
// first of the doubts.
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
		"either %s, or %s: it is not known by which interface it goes", *o.allowed, *o.denied)}}
}
