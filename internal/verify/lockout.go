// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// Write is one write of a sequence: of an object as it will then be, labels of
// others included, or of its deletion.
type Write struct {
	Object calico.Object
	Delete bool
}

func (w Write) String() string {
	what := "write"
	if w.Delete {
		what = "deletion"
	}
	object := drift.ObjectOf(w.Object) // an object from a cache does not say its kind
	return fmt.Sprintf("%s of %s %s", what, object.Kind, object.Name)
}

// Sequence returns what is written for the difference, in that order. What
// somebody else has decided about is not written.
func Sequence(diff drift.Diff) []Write {
	var out []Write
	for _, w := range slices.Concat(diff.Writes, diff.Removals) {
		if w.Conflicted() {
			continue
		}
		object, gone := w.Result()
		out = append(out, Write{Object: object, Delete: gone})
	}
	return out
}

// Cut is a required flow that is cut, or may be.
type Cut struct {
	// Name is that of the required flow.
	Name string
	// Flow is an example of what is cut, to Flow.Node.
	Flow    dataplane.Flow
	Verdict dataplane.Verdict
	// After names the write after which it is so, such as "write of HostEndpoint
	// cpnp-cp-1"; empty if it is so already.
	After string
}

func (c Cut) String() string {
	when := fmt.Sprintf("is %s already", c.Verdict.Decision)
	if c.After != "" {
		when = fmt.Sprintf("would be %s after the %s", c.Verdict.Decision, c.After)
	}
	return fmt.Sprintf("%s: %s %s: %s", c.Name, c.Flow, when, c.Verdict.Reason)
}

// LockoutReport tells the required flows that the writes would cut from those
// that are cut anyway. What is cut already and healed by the writes is in
// neither list.
type LockoutReport struct {
	// Cuts are flows that the writes would cut: of the first state after a write
	// in which there are some. Something worse becomes of such a flow than
	// before any write: it is not Allowed any more, or Denied though that was
	// not known for sure.
	Cuts []Cut
	// Already are flows that are cut by what is there, and still are after the
	// last write. They are not looked for where there are Cuts.
	Already []Cut
}

// Lockout finds the required flows that would be cut after any of the writes, in
// their order, and those that are cut already.
//
// Every sender of a required flow is held against everybody whom it is for, in both
// IP versions, where it leaves and where it comes in, if one of them is a protected
// node; and every protected node against itself. Those whom no policy can tell apart
// are judged once.
func Lockout(lines plan.Lifelines, nodes []dataplane.Node, there state.Calico, writes []Write) LockoutReport {
	l := &lockout{lines: lines, there: there, world: dataplane.New(there, nodes)}
	l.copy()
	report := LockoutReport{Already: l.check()}
	if len(report.Already) > 0 {
		l.before, l.told = l.world, l.world.Classes()
		l.world = dataplane.New(l.there, nodes)
	}
	for _, write := range writes {
		noticed := l.notices(write)
		l.write(write)
		if !noticed {
			continue
		}
		l.world.Update(l.there)
		cuts, already := l.split(l.check(), write)
		if len(cuts) > 0 {
			return LockoutReport{Cuts: cuts}
		}
		report.Already = already
	}
	report.Already = slices.DeleteFunc(report.Already, l.elsewhere)
	return report
}

// elsewhere says whether it is only not known what becomes of a flow at a node that
// is not protected: nobody here has changed that, nor will.
func (l *lockout) elsewhere(cut Cut) bool {
	return cut.Verdict.Decision == dataplane.Unknown && !l.lines.Protected[cut.Verdict.Reason.Node]
}

// lockout is the set of policies as it is at one point of the sequence.
type lockout struct {
	lines plan.Lifelines
	there state.Calico
	world *dataplane.World // as of the last write that could change something
	// before is the world before any write, and told what it tells apart. Both
	// are nil if nothing is cut there: then the writes cut whatever is cut later.
	before *dataplane.World
	told   *dataplane.Classes
}

func (l *lockout) copy() {
	l.there.Tiers, l.there.Policies = slices.Clone(l.there.Tiers), slices.Clone(l.there.Policies)
	l.there.Sets, l.there.Endpoints = slices.Clone(l.there.Sets), slices.Clone(l.there.Endpoints)
	l.there.Felix = slices.Clone(l.there.Felix)
}

// split tells what is cut after a write, and was not before any, from what was
// cut already.
func (l *lockout) split(all []Cut, write Write) (cuts, already []Cut) {
	for _, cut := range all {
		if l.before != nil && !worse(cut.Verdict.Decision, l.before.Decide(cut.Flow)) {
			already = append(already, cut)
			continue
		}
		cut.After = write.String()
		cuts = append(cuts, cut)
	}
	return cuts, already
}

// worse says whether a decision is worse for a flow than the one before. What
// was Unknown may have been let through.
func worse(now, before dataplane.Decision) bool {
	return now != before && (before == dataplane.Allowed || now == dataplane.Denied)
}

// notices says whether a write can change what becomes of a flow: a set of
// addresses does so only if a rule that is in force stands for it, or stood for
// what is there.
func (l *lockout) notices(write Write) bool {
	set, is := write.Object.(*v3.GlobalNetworkSet)
	return !is || l.world.Selects(set.Labels) || slices.ContainsFunc(l.there.Sets, func(s v3.GlobalNetworkSet) bool {
		return s.Name == set.Name && l.world.Selects(s.Labels)
	})
}

func (l *lockout) write(w Write) {
	switch o := w.Object.(type) {
	case *v3.Tier:
		l.there.Tiers = put(l.there.Tiers, *o, w.Delete, func(t *v3.Tier) string { return t.Name })
	case *v3.GlobalNetworkPolicy:
		l.there.Policies = put(l.there.Policies, *o, w.Delete, func(p *v3.GlobalNetworkPolicy) string { return p.Name })
	case *v3.GlobalNetworkSet:
		l.there.Sets = put(l.there.Sets, *o, w.Delete, func(s *v3.GlobalNetworkSet) string { return s.Name })
	case *v3.HostEndpoint:
		l.there.Endpoints = put(l.there.Endpoints, *o, w.Delete, func(e *v3.HostEndpoint) string { return e.Name })
	case *v3.FelixConfiguration:
		l.there.Felix = put(l.there.Felix, *o, w.Delete, func(f *v3.FelixConfiguration) string { return f.Name })
	}
}

// put puts an item in the place of the one of its name, or takes that out.
func put[T any](list []T, item T, remove bool, name func(*T) string) []T {
	i := slices.IndexFunc(list, func(other T) bool { return name(&other) == name(&item) })
	switch {
	case i < 0 && remove:
	case i < 0:
		list = append(list, item)
	case remove:
		list = slices.Delete(list, i, i+1)
	default:
		list[i] = item
	}
	return list
}

// check judges all required flows in one state, and returns what is cut.
//
// Where something was cut before, classes are of both worlds: one who was cut off
// must not stand for others who were not.
func (l *lockout) check() []Cut {
	c := l.world.Classes()
	if l.told != nil {
		c = c.And(l.told)
	}
	j := &judge{world: l.world, classes: c, lines: l.lines, parties: map[party][]*dataplane.Group{}}
	for _, flow := range l.lines.Flows {
		j.flow(flow)
	}
	return j.cuts
}

// judge gathers what is cut in one state.
type judge struct {
	world   *dataplane.World
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
	if j.world.Decide(f) != dataplane.Allowed {
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
