// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"math"
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// flowJudge collects the cuts in one state of the cluster.
type flowJudge struct {
	world *dataplane.World
	// Flows that are cut in ignoredWorld too are not collected; nil to collect all.
	ignoredWorld *dataplane.World
	classes      *dataplane.Classes
	required     plan.RequiredFlows
	parties      map[party][]*dataplane.Group
	cuts         []Cut
}

// party is the members of a role, or only the protected nodes among the members.
type party struct {
	role      profile.Role
	protected bool
}

// groupsOf returns the addresses of a party, grouped by class.
func (j *flowJudge) groupsOf(p party) []*dataplane.Group {
	groups, known := j.parties[p]
	if !known {
		groups = j.groupAddresses(j.required.Parties[p.role], func(prefix netip.Prefix) bool {
			return !p.protected || prefix.IsSingleIP() && j.required.Protected[j.world.OwnerOf(prefix.Addr())]
		})
		j.parties[p] = groups
	}
	return groups
}

func (j *flowJudge) groupAddresses(prefixes []netip.Prefix, wanted func(netip.Prefix) bool) []*dataplane.Group {
	groups := &dataplane.AddressGroups{}
	for _, prefix := range prefixes {
		if wanted(prefix) {
			groups.AddNetwork(j.classes, prefix)
		}
	}
	return groups.Groups
}

// judgeFlow judges a required flow at every protected node that receives or sends the
// flow.
func (j *flowJudge) judgeFlow(flow profile.Flow) {
	if flow.To == profile.RoleSelf {
		for _, node := range j.groupsOf(party{flow.To, true}) {
			j.judgeToItself(flow, node.Addresses[0])
		}
		return
	}
	for _, at := range j.required.Dedicated {
		if sent, is := at.PartOf(flow); is {
			j.judgeToDedicated(sent, at)
		}
	}
	for _, protected := range []bool{true, false} {
		for _, receiver := range j.groupsOf(party{flow.To, protected}) {
			for _, f := range j.arrivingFlows(flow, receiver) {
				for _, role := range flow.From {
					for _, sender := range j.groupsOf(party{role, !protected}) {
						j.judgeBetween(flow, f, sender, receiver)
					}
				}
			}
		}
	}
}

// judgeToDedicated judges flows to dedicated addresses. No node shows a dedicated
// address: each protected node is judged as if the node had all of the addresses.
// Control-plane nodes talk to each other there.
func (j *flowJudge) judgeToDedicated(flow profile.Flow, at plan.Dedicated) {
	dedicated := j.groupAddresses(at.Addresses, func(netip.Prefix) bool { return true })
	for _, receiver := range j.groupsOf(party{flow.To, true}) {
		node := j.world.OwnerOf(receiver.Addresses[0])
		for _, to := range dedicated {
			for _, traffic := range flow.Traffic {
				for _, f := range representativeFlows(traffic, to.Addresses[0], j.classes.RepresentativePorts) {
					f.To, f.Node, f.Interface = to.Addresses[0], node, at.Interface
					for _, sender := range j.sendersToDedicated(flow, dedicated) {
						j.judgeFromOthers(flow, f, sender)
					}
				}
			}
		}
	}
}

// sendersToDedicated returns the senders of a flow to dedicated addresses; the groups
// of the dedicated addresses are given.
func (j *flowJudge) sendersToDedicated(flow profile.Flow, dedicated []*dataplane.Group) []*dataplane.Group {
	var senders []*dataplane.Group
	for _, role := range flow.From {
		if role == profile.RoleControlPlane {
			senders = append(senders, dedicated...)
			continue
		}
		senders = append(senders, j.groupsOf(party{role, false})...)
	}
	return senders
}

// judgeFromOthers judges a flow from another machine of a class to a node. If the class
// has no second address, the address of the receiver represents the other members of
// the class.
func (j *flowJudge) judgeFromOthers(flow profile.Flow, f dataplane.Flow, sender *dataplane.Group) {
	for _, from := range sender.Addresses {
		if from.Is4() == f.To.Is4() && j.world.OwnerOf(from) != f.Node && (!f.From.IsValid() || f.From == f.To) {
			f.From = from
		}
	}
	if f.From.IsValid() {
		j.recordIfCut(flow, f)
	}
}

// judgeToItself judges flows from a node to the same node: to an address of the node,
// and to loopback.
func (j *flowJudge) judgeToItself(flow profile.Flow, own netip.Addr) {
	node := j.world.OwnerOf(own)
	if node == "" {
		return // a machine before joining the cluster
	}
	loopback := netip.IPv6Loopback()
	if own.Is4() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	for _, address := range []netip.Addr{own, loopback} {
		between := func(first, last uint16) []uint16 {
			return j.classes.RepresentativePortsBetween(address, address, first, last)
		}
		for _, traffic := range flow.Traffic {
			for _, f := range representativeFlows(traffic, address, between) {
				f.From, f.To, f.Node = address, address, node
				j.recordIfCut(flow, f)
			}
		}
	}
}

// arrivingFlows returns the flows to a receiver, without senders: to the address of the
// receiver, or to the destinations of the flow.
func (j *flowJudge) arrivingFlows(flow profile.Flow, receiver *dataplane.Group) []dataplane.Flow {
	to, node := receiver.Addresses[:1], ""
	if len(flow.Destinations) > 0 {
		if to, node = nil, j.world.OwnerOf(receiver.Addresses[0]); node == "" {
			return nil // the addressed node is unknown
		}
		for _, net := range flow.Destinations {
			to = append(to, net.Addr())
		}
	}
	var out []dataplane.Flow
	for _, address := range to {
		for _, traffic := range flow.Traffic {
			for _, f := range representativeFlows(traffic, address, j.classes.RepresentativePorts) {
				f.To, f.Node = address, node
				out = append(out, f)
			}
		}
	}
	return out
}

// judgeBetween judges a flow between members of two classes, on two different nodes if
// there are two.
func (j *flowJudge) judgeBetween(flow profile.Flow, f dataplane.Flow, sender, receiver *dataplane.Group) {
	f.From = sender.Addresses[0]
	if f.From.Is4() != f.To.Is4() {
		return
	}
	node := f.Node
	if node == "" {
		node = j.world.OwnerOf(f.To)
	}
	if node != "" && j.world.OwnerOf(f.From) == node {
		switch {
		case len(sender.Addresses) > 1:
			f.From = sender.Addresses[1]
		case len(receiver.Addresses) > 1 && f.Node == "":
			f.To = receiver.Addresses[1]
		}
	}
	j.recordIfCut(flow, f)
}

func (j *flowJudge) recordIfCut(flow profile.Flow, f dataplane.Flow) {
	if j.world.DecisionOn(f) != dataplane.Allowed && (j.ignoredWorld == nil || j.ignoredWorld.DecisionOn(f) == dataplane.Allowed) {
		j.cuts = append(j.cuts, Cut{Name: flow.Name, Flow: f, Verdict: j.world.VerdictOn(f)})
	}
}

// representativeFlows returns the flows to judge in place of all traffic: a flow for
// each port at which the match of a rule may change.
func representativeFlows(t profile.Traffic, to netip.Addr, ports func(first, last uint16) []uint16) []dataplane.Flow {
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
