// SPDX-License-Identifier: Apache-2.0

// Package dataplane is a model of Calico's dataplane for hosts: the model says what a
// set of Calico policies does to a flow, and why. Policies are evaluated in the order
// of Felix (felix/rules of projectcalico/calico): failsafe ports, untracked policies,
// policies before DNAT, the tiers, and the profiles of the host endpoint. If a fact
// that is not modelled, or not in the snapshot, could change the decision, the decision
// is Unknown. The package is pure.
package dataplane

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"go4.org/netipx"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// Node is a host of the cluster.
type Node struct {
	Name      string
	Addresses []netip.Addr
	// Interfaces has the addresses of the known interfaces by name.
	Interfaces map[string][]netip.Addr
}

// World is a set of Calico objects and the hosts of the cluster: all facts on which a
// decision depends. A World is not safe for concurrent use.
type World struct {
	tiers               []*tier
	selectables         []selectable
	members             map[string]*members
	nodes               map[string]*host
	owners              map[netip.Addr]*host
	workloadAddresses   *netipx.IPSet
	pools               []v3.IPPool
	felixConfigurations []v3.FelixConfiguration
	// extraWorkloadNets are networks of workloads beside Calico's pools.
	extraWorkloadNets []netip.Prefix
}

// host is a node with the node's endpoints and the settings of the node's Felix.
type host struct {
	Node
	endpoints []*endpoint
	felix     *felixSettings
}

// tier is a tier with its policies in order of evaluation.
type tier struct {
	name     string
	place    Place
	passes   bool
	missing  bool // policies name the tier, but the tier does not exist
	policies []*policy
}

// policy is a policy. Its rules are parsed on first use.
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

// NewWorld returns a world. Workloads are unknown: any address of Calico's pools, and
// of workloadNets (such as the networks of NetworkSets), may belong to a workload.
func NewWorld(live calico.Live, nodes []Node, workloadNets ...netip.Prefix) *World {
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

// ReplaceObjects replaces all Calico objects of the world.
func (w *World) ReplaceObjects(live calico.Live) {
	w.tiers, w.selectables, w.members = nil, nil, map[string]*members{}
	w.pools, w.felixConfigurations = live.Pools, live.Felix
	for _, h := range w.nodes {
		h.endpoints, h.felix = nil, nil
	}
	w.collectWorkloadAddresses()
	w.addObjects(live)
}

// OwnerOf returns the name of the node with an address; empty if no node has the
// address.
func (w *World) OwnerOf(address netip.Addr) string {
	if h := w.owners[address]; h != nil {
		return h.Name
	}
	return ""
}

// felixSettingsOn returns the settings of Felix on a node.
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

// addObjects adds the tiers, policies, endpoints and sets to the world.
func (w *World) addObjects(live calico.Live) {
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
