// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

const (
	loopbackInterface   = "lo"
	workloadPrefix      = "cali" // prefix of the names of workload interfaces
	profileDefaultAllow = "projectcalico-default-allow"
)

// endpoint is a HostEndpoint with the policies that select the endpoint.
type endpoint struct {
	spec      *v3.HostEndpoint
	addresses []netip.Addr
	// policies are all policies that select, or may select, the endpoint, and byTier
	// the same policies by direction, phase and tier. Both are filled on first use.
	policies []*policy
	byTier   *[2][3][]tierPolicies
}

// tierPolicies are the policies of a tier that select an endpoint.
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

// isForEveryInterface says whether the endpoint is for every interface without an
// endpoint of its own.
func (e *endpoint) isForEveryInterface() bool {
	return e.spec.Spec.InterfaceName == backend.EveryInterface
}

// endpointsGoverning returns the endpoints that may govern an interface; exactly one
// element of the list is right, and nil in the list means no endpoint. The list has several
// if the model cannot tell the governing endpoint. Felix chooses
// (felix/dataplane/linux/endpoint_mgr.go, resolveHostEndpoints): an endpoint with the name
// or an address of the interface precedes an endpoint for every interface; of several, the
// alphabetically first name decides.
func (h *host) endpointsGoverning(iface string) []*endpoint {
	var forEvery, forOne []*endpoint // for every interface; for a single interface
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

// mayGovern says whether an endpoint for a single interface governs a given interface.
// An empty interface stands for any interface but loopback.
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

// policiesSelecting returns the policies that select, or may select, the endpoint, in
// order of evaluation.
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

// tiersSelecting returns the tiers with a policy that selects the endpoint.
func (w *World) tiersSelecting(e *endpoint, direction int, phase Phase) []tierPolicies {
	w.policiesSelecting(e)
	return e.byTier[direction][phase]
}

func (e *endpoint) addPolicy(t *tier, p *policy) {
	for direction, applies := range p.applies {
		// Outgoing packets do not pass the phase before DNAT.
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
