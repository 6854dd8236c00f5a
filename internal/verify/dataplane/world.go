// SPDX-License-Identifier: Apache-2.0

// Package dataplane says what a set of Calico policies does to a flow, and why.
// It evaluates them in the order in which Felix does (felix/rules of
// projectcalico/calico): failsafe ports, policies that are not tracked, policies
// before DNAT, the tiers, and the profiles of the host endpoint. What it does
// not model, or what the snapshot does not show, it calls Unknown if it could
// change the decision. It is pure.
package dataplane

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Node is a host of the cluster.
type Node struct {
	Name      string
	Addresses []netip.Addr
	// Interfaces are the addresses of its interfaces, of those that are known.
	Interfaces map[string][]netip.Addr
}

// World is a set of policies, and the hosts that they are for. It is for one
// goroutine at a time.
type World struct {
	tiers             []*tier
	selectables       []selectable
	members           map[string]*members
	nodes             map[string]*host
	owners            map[netip.Addr]*host
	workloadAddresses *netipx.IPSet
	pools             []v3.IPPool
	// configurations are those of Felix.
	felixConfigurations []v3.FelixConfiguration
	// concealed are the hidden addresses beside those of pools.
	extraWorkloadNets []netip.Prefix
}

// host is a node with its endpoints.
type host struct {
	Node
	endpoints []*endpoint
	felix     *felixSettings
}

// tier is a tier with its policies in their order.
type tier struct {
	name     string
	place    Place
	passes   bool
	missing  bool // there are policies of it, but it is not there
	policies []*policy
}

// policy is a policy whose rules are made ready when they are first needed.
type policy struct {
	spec       *v3.GlobalNetworkPolicy
	place      Place
	phase      Phase
	applies    [2]bool // to ingress, to egress
	selects    func(map[string]string) bool
	unreadable bool

	rulesReady [2]bool
	rules      [2][]rule
}

const (
	ingress = iota
	egress
)

// New returns a world. The addresses of Calico's pools may be those of workloads,
// which are not known; so may the hidden ones be, such as of NetworkSets.
func NewWorld(live state.Calico, nodes []Node, workloadNets ...netip.Prefix) *World {
	w := &World{nodes: map[string]*host{}, owners: make(map[netip.Addr]*host, 2*len(nodes)), extraWorkloadNets: workloadNets}
	for _, node := range nodes {
		h := &host{Node: node}
		w.nodes[node.Name] = h
		for _, address := range node.Addresses {
			w.owners[address] = h
		}
		for _, addresses := range node.Interfaces {
			for _, address := range addresses {
				w.owners[address] = h
			}
		}
	}
	w.ReplaceObjects(live)
	return w
}

// Update has other policies in the place of all that there were.
func (w *World) ReplaceObjects(live state.Calico) {
	w.tiers, w.selectables, w.members = nil, nil, map[string]*members{}
	w.pools, w.felixConfigurations = live.Pools, live.Felix
	for _, h := range w.nodes {
		h.endpoints, h.felix = nil, nil
	}
	w.collectWorkloadAddresses()
	w.addObjects(live)
}

// Owner returns the name of the node that has an address; empty if none has it.
func (w *World) OwnerOf(address netip.Addr) string {
	if h := w.owners[address]; h != nil {
		return h.Name
	}
	return ""
}

// config returns the configuration of the node's Felix.
func (w *World) felixSettingsOn(h *host) *felixSettings {
	if h.felix == nil {
		h.felix = felixSettingsOf(h.Name, w.felixConfigurations)
	}
	return h.felix
}

func (w *World) collectWorkloadAddresses() {
	var b netipx.IPSetBuilder
	for _, prefix := range w.extraWorkloadNets {
		b.AddPrefix(prefix)
	}
	for i := range w.pools {
		if net, ok := ParseNet(w.pools[i].Spec.CIDR); ok {
			b.AddPrefix(net)
		}
	}
	w.workloadAddresses = setOf(&b)
}

// fill takes over the objects.
func (w *World) addObjects(live state.Calico) {
	for i := range live.Endpoints {
		e := &live.Endpoints[i]
		w.selectables = append(w.selectables, selectableOf(e.Labels, e.Spec.ExpectedIPs))
		if h := w.nodes[e.Spec.Node]; h != nil {
			h.endpoints = append(h.endpoints, endpointOf(e))
		}
	}
	for i := range live.Sets {
		w.selectables = append(w.selectables, selectableOf(live.Sets[i].Labels, live.Sets[i].Spec.Nets))
	}
	tiers := map[string]*tier{}
	for i := range live.Tiers {
		t := &live.Tiers[i]
		tiers[t.Name] = &tier{name: t.Name, place: PlaceOf(t.Spec.Order, t.Name), passes: TierPasses(t)}
	}
	for i := range live.Policies {
		p := &live.Policies[i]
		name := TierName(p)
		if tiers[name] == nil {
			tiers[name] = &tier{name: name, place: PlaceOf(nil, name), missing: true}
		}
		tiers[name].policies = append(tiers[name].policies, policyOf(p))
	}
	for _, t := range tiers {
		slices.SortFunc(t.policies, func(a, b *policy) int { return a.place.Compare(b.place) })
		w.tiers = append(w.tiers, t)
	}
	slices.SortFunc(w.tiers, func(a, b *tier) int { return a.place.Compare(b.place) })
}

func policyOf(p *v3.GlobalNetworkPolicy) *policy {
	out := &policy{
		spec: p, place: PlaceOf(p.Spec.Order, p.Name), phase: PhaseOf(p), applies: [2]bool{AppliesToIngress(p), AppliesToEgress(p)},
	}
	out.selects, out.unreadable = HostSelectorOf(p.Spec)
	return out
}

func (p *policy) rulesFor(w *World, direction int) []rule {
	if !p.rulesReady[direction] {
		p.rulesReady[direction] = true
		for _, r := range [][]v3.Rule{p.spec.Spec.Ingress, p.spec.Spec.Egress}[direction] {
			p.rules[direction] = append(p.rules[direction], w.newRule(r))
		}
	}
	return p.rules[direction]
}
