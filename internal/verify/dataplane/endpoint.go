// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

const (
	loopbackInterface   = "lo"
	workloadPrefix      = "cali" // what names of interfaces of workloads begin with
	profileDefaultAllow = "projectcalico-default-allow"
)

// endpoint is a HostEndpoint with the policies that select it.
type endpoint struct {
	spec      *v3.HostEndpoint
	addresses []netip.Addr
	// policies are those that select it, or may, once they are needed, and
	// sections the same by direction, phase and tier.
	policies []*policy
	byTier   *[2][3][]tierPolicies
}

// section is a tier as far as it selects an endpoint.
type tierPolicies struct {
	tier     *tier
	policies []*policy
}

func endpointOf(e *v3.HostEndpoint) *endpoint {
	out := &endpoint{spec: e}
	for _, text := range e.Spec.ExpectedIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			out.addresses = append(out.addresses, address)
		}
	}
	return out
}

// every says whether the endpoint is for every interface that has none of its
// own.
func (e *endpoint) isForEveryInterface() bool {
	return e.spec.Spec.InterfaceName == calico.EveryInterface
}

// governing returns the endpoints of which one governs an interface; nil is for
// none. There are several if it is not known which one does
// (felix/dataplane/linux/endpoint_mgr.go, resolveHostEndpoints): one that names
// the interface, or one of its addresses, goes before one for every interface,
// and of several the alphabetically first.
func (h *host) endpointsGoverning(iface string) []*endpoint {
	var forEvery, forOne []*endpoint // for every interface, and for one
	for _, e := range h.endpoints {
		if e.isForEveryInterface() {
			forEvery = append(forEvery, e)
		} else {
			forOne = append(forOne, e)
		}
	}
	byName := func(a, b *endpoint) int {
		if a.spec.Name < b.spec.Name {
			return -1
		}
		return 1
	}
	slices.SortFunc(forEvery, byName)
	slices.SortFunc(forOne, byName)
	var last *endpoint
	if len(forEvery) > 0 {
		last = forEvery[0]
	}
	var out []*endpoint
	for _, e := range forOne {
		switch h.mayGovern(e, iface) {
		case yes:
			return append(out, e)
		case maybe:
			out = append(out, e)
		}
	}
	return append(out, last)
}

// governs says whether an endpoint that is not for every interface may govern
// one. An empty interface is any but loopback.
func (h *host) mayGovern(e *endpoint, iface string) answer {
	named := e.spec.Spec.InterfaceName
	switch {
	case named != "" && iface == "":
		return min(maybe, answerOf(named != loopbackInterface))
	case named != "":
		return answerOf(named == iface)
	case len(e.addresses) == 0:
		return no
	}
	has := func(addresses []netip.Addr) bool {
		return slices.ContainsFunc(e.addresses, func(a netip.Addr) bool { return slices.Contains(addresses, a) })
	}
	if iface == loopbackInterface {
		return answerOf(slices.ContainsFunc(e.addresses, netip.Addr.IsLoopback))
	}
	if addresses, known := h.Interfaces[iface]; known {
		return answerOf(has(addresses))
	}
	return maybe
}

// selecting returns the policies that select the endpoint, or may, in their
// order.
func (w *World) policiesSelecting(e *endpoint) []*policy {
	if e.byTier == nil {
		e.byTier = &[2][3][]tierPolicies{}
		for _, t := range w.tiers {
			for _, p := range t.policies {
				if p.unreadable || p.selects(e.spec.Labels) {
					e.policies = append(e.policies, p)
					e.addPolicy(t, p)
				}
			}
		}
	}
	return e.policies
}

// sectionsOf returns the tiers of which a policy selects the endpoint.
func (w *World) tiersSelecting(e *endpoint, direction int, phase Phase) []tierPolicies {
	w.policiesSelecting(e)
	return e.byTier[direction][phase]
}

func (e *endpoint) addPolicy(t *tier, p *policy) {
	for direction, applies := range p.applies {
		// Before DNAT, there is nothing that goes out.
		if !applies || p.phase == PreDNAT && direction == egress {
			continue
		}
		list := &e.byTier[direction][p.phase]
		if n := len(*list); n == 0 || (*list)[n-1].tier != t {
			*list = append(*list, tierPolicies{tier: t})
		}
		last := &(*list)[len(*list)-1]
		last.policies = append(last.policies, p)
	}
}
