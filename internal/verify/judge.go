// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"math"
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// judge gathers what is cut in one state.
type judge struct {
	world *dataplane.World
	// unless is a world in which what is cut as well is left out; nil for none.
	unless  *dataplane.World
	classes *dataplane.Classes
	lines   plan.Lifelines
	parties map[party][]*dataplane.Group
	cuts    []Cut
}

// party is who has a role: all, or the protected nodes among them.
type party struct {
	role      profile.Role
	protected bool
}

// of returns the classes of a party's addresses.
func (j *judge) of(p party) []*dataplane.Group {
	groups, known := j.parties[p]
	if !known {
		groups = j.groups(j.lines.Parties[p.role], func(prefix netip.Prefix) bool {
			return !p.protected || prefix.IsSingleIP() && j.lines.Protected[j.world.Owner(prefix.Addr())]
		})
		j.parties[p] = groups
	}
	return groups
}

func (j *judge) groups(prefixes []netip.Prefix, is func(netip.Prefix) bool) []*dataplane.Group {
	senders := &dataplane.Senders{}
	for _, prefix := range prefixes {
		if is(prefix) {
			senders.Add(j.classes, prefix)
		}
	}
	return senders.Groups
}

// flow judges what protected nodes get, and what they send.
func (j *judge) flow(flow profile.Flow) {
	if flow.To == profile.RoleSelf {
		for _, node := range j.of(party{flow.To, true}) {
			j.toItself(flow, node.Addresses[0])
		}
		return
	}
	for _, at := range j.lines.Dedicated {
		if sent, is := at.Sent(flow); is {
			j.toDedicated(sent, at)
		}
	}
	for _, protected := range []bool{true, false} {
		for _, receiver := range j.of(party{flow.To, protected}) {
			for _, f := range j.arriving(flow, receiver) {
				for _, role := range flow.From {
					for _, sender := range j.of(party{role, !protected}) {
						j.between(flow, f, sender, receiver)
					}
				}
			}
		}
	}
}

// toDedicated judges what is sent to addresses that no node shows, as if each
// protected node had them. There, nodes of the control plane talk to each other.
func (j *judge) toDedicated(flow profile.Flow, at plan.Dedicated) {
	there := j.groups(at.Addresses, func(netip.Prefix) bool { return true })
	for _, receiver := range j.of(party{flow.To, true}) {
		node := j.world.Owner(receiver.Addresses[0])
		for _, to := range there {
			for _, traffic := range flow.Traffic {
				for _, f := range packets(traffic, to.Addresses[0], j.classes.Ports) {
					f.To, f.Node, f.Interface = to.Addresses[0], node, at.Interface
					for _, sender := range j.sendersTo(flow, there) {
						j.fromAnother(flow, f, sender)
					}
				}
			}
		}
	}
}

// sendersTo returns who sends a flow to dedicated addresses, of which these are the
// classes.
func (j *judge) sendersTo(flow profile.Flow, dedicated []*dataplane.Group) []*dataplane.Group {
	var senders []*dataplane.Group
	for _, role := range flow.From {
		if role == profile.RoleControlPlane {
			senders = append(senders, dedicated...)
			continue
		}
		senders = append(senders, j.of(party{role, false})...)
	}
	return senders
}

// fromAnother judges what comes to a node from one of a class that is not the node
// itself. Of a class, the receiver's own address stands for others.
func (j *judge) fromAnother(flow profile.Flow, f dataplane.Flow, sender *dataplane.Group) {
	for _, from := range sender.Addresses {
		if from.Is4() == f.To.Is4() && j.world.Owner(from) != f.Node && (!f.From.IsValid() || f.From == f.To) {
			f.From = from
		}
	}
	if f.From.IsValid() {
		j.one(flow, f)
	}
}

// toItself judges what a node sends to an address of its own, and to loopback.
func (j *judge) toItself(flow profile.Flow, own netip.Addr) {
	node := j.world.Owner(own)
	if node == "" {
		return // a machine that has not joined yet
	}
	loopback := netip.IPv6Loopback()
	if own.Is4() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	for _, address := range []netip.Addr{own, loopback} {
		between := func(first, last uint16) []uint16 { return j.classes.PortsBetween(address, address, first, last) }
		for _, traffic := range flow.Traffic {
			for _, f := range packets(traffic, address, between) {
				f.From, f.To, f.Node = address, address, node
				j.one(flow, f)
			}
		}
	}
}

// arriving returns the packets of a flow as they come to a receiver, without their
// sender: to its own address, or to those that the flow is sent to instead.
func (j *judge) arriving(flow profile.Flow, receiver *dataplane.Group) []dataplane.Flow {
	to, node := receiver.Addresses[:1], ""
	if len(flow.Destinations) > 0 {
		if to, node = nil, j.world.Owner(receiver.Addresses[0]); node == "" {
			return nil // it is not known who is addressed
		}
		for _, net := range flow.Destinations {
			to = append(to, net.Addr())
		}
	}
	var out []dataplane.Flow
	for _, address := range to {
		for _, traffic := range flow.Traffic {
			for _, f := range packets(traffic, address, j.classes.Ports) {
				f.To, f.Node = address, node
				out = append(out, f)
			}
		}
	}
	return out
}

// between judges what one of a class sends to one of another, of two nodes where
// there are two.
func (j *judge) between(flow profile.Flow, f dataplane.Flow, sender, receiver *dataplane.Group) {
	f.From = sender.Addresses[0]
	if f.From.Is4() != f.To.Is4() {
		return
	}
	node := f.Node
	if node == "" {
		node = j.world.Owner(f.To)
	}
	if node != "" && j.world.Owner(f.From) == node {
		switch {
		case len(sender.Addresses) > 1:
			f.From = sender.Addresses[1]
		case len(receiver.Addresses) > 1 && f.Node == "":
			f.To = receiver.Addresses[1]
		}
	}
	j.one(flow, f)
}

func (j *judge) one(flow profile.Flow, f dataplane.Flow) {
	if j.world.Decide(f) != dataplane.Allowed && (j.unless == nil || j.unless.Decide(f) == dataplane.Allowed) {
		j.cuts = append(j.cuts, Cut{Name: flow.Name, Flow: f, Verdict: j.world.Judge(f)})
	}
}

// packets returns one flow for each port that a rule may tell from the others.
func packets(t profile.Traffic, to netip.Addr, ports func(first, last uint16) []uint16) []dataplane.Flow {
	ported := func(protocol dataplane.Protocol) (out []dataplane.Flow) {
		first, last := t.First, max(t.First, t.Last)
		if first == 0 {
			first, last = 1, math.MaxUint16
		}
		for _, port := range ports(first, last) {
			out = append(out, dataplane.Flow{Protocol: protocol, Port: port})
		}
		return out
	}
	switch t.Protocol {
	case profile.TCP:
		return ported(dataplane.TCP)
	case profile.UDP:
		return ported(dataplane.UDP)
	case profile.SCTP:
		return ported(dataplane.SCTP)
	case profile.ICMP, profile.ICMPv6:
		protocol := map[bool]dataplane.Protocol{true: dataplane.ICMP, false: dataplane.ICMPv6}[t.Protocol == profile.ICMP]
		if to.Is4() != (protocol == dataplane.ICMP) {
			return nil
		}
		return []dataplane.Flow{{Protocol: protocol, Type: t.Number, Code: t.Code}}
	case profile.IP:
		return []dataplane.Flow{{Protocol: dataplane.Protocol(t.Number)}}
	}
	return append(ported(dataplane.TCP), ported(dataplane.UDP)...)
}
