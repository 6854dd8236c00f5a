// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

const (
	loopback            = "lo"
	workloads           = "cali" // what names of interfaces of workloads begin with
	profileDefaultAllow = "projectcalico-default-allow"
)

// endpoint is a HostEndpoint with the policies that select it.
type endpoint struct {
	spec      *v3.HostEndpoint
	addresses []netip.Addr
	// policies are those that select it, or may, once they are needed, and
	// sections the same by direction, phase and tier.
	policies []*policy
	sections *[2][3][]section
}

// section is a tier as far as it selects an endpoint.
type section struct {
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
func (e *endpoint) every() bool { return e.spec.Spec.InterfaceName == calico.EveryInterface }

// governing returns the endpoints of which one governs an interface; nil is for
// none. There are several if it is not known which one does
// (felix/dataplane/linux/endpoint_mgr.go, resolveHostEndpoints): one that names
// the interface, or one of its addresses, goes before one for every interface,
// and of several the alphabetically first.
func (h *host) governing(iface string) []*endpoint {
	var all, some []*endpoint // for every interface, and for one
	for _, e := range h.endpoints {
		if e.every() {
			all = append(all, e)
		} else {
			some = append(some, e)
		}
	}
	byName := func(a, b *endpoint) int {
		if a.spec.Name < b.spec.Name {
			return -1
		}
		return 1
	}
	slices.SortFunc(all, byName)
	slices.SortFunc(some, byName)
	var last *endpoint
	if len(all) > 0 {
		last = all[0]
	}
	var out []*endpoint
	for _, e := range some {
		switch h.governs(e, iface) {
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
func (h *host) governs(e *endpoint, iface string) answer {
	named := e.spec.Spec.InterfaceName
	switch {
	case named != "" && iface == "":
		return min(maybe, answerOf(named != loopback))
	case named != "":
		return answerOf(named == iface)
	case len(e.addresses) == 0:
		return no
	}
	has := func(addresses []netip.Addr) bool {
		return slices.ContainsFunc(e.addresses, func(a netip.Addr) bool { return slices.Contains(addresses, a) })
	}
	if iface == loopback {
		return answerOf(slices.ContainsFunc(e.addresses, netip.Addr.IsLoopback))
	}
	if addresses, known := h.Interfaces[iface]; known {
		return answerOf(has(addresses))
	}
	return maybe
}

// selecting returns the policies that select the endpoint, or may, in their
// order.
func (w *World) selecting(e *endpoint) []*policy {
	if e.sections == nil {
		e.sections = &[2][3][]section{}
		for _, t := range w.tiers {
			for _, p := range t.policies {
				if p.unread || p.selects(e.spec.Labels) {
					e.policies = append(e.policies, p)
					e.add(t, p)
				}
			}
		}
	}
	return e.policies
}

// sectionsOf returns the tiers of which a policy selects the endpoint.
func (w *World) sectionsOf(e *endpoint, direction int, phase Phase) []section {
	w.selecting(e)
	return e.sections[direction][phase]
}

func (e *endpoint) add(t *tier, p *policy) {
	for direction, applies := range p.applies {
		// Before DNAT, there is nothing that goes out.
		if !applies || p.phase == PreDNAT && direction == egress {
			continue
		}
		list := &e.sections[direction][p.phase]
		if n := len(*list); n == 0 || (*list)[n-1].tier != t {
			*list = append(*list, section{tier: t})
		}
		last := &(*list)[len(*list)-1]
		last.policies = append(last.policies, p)
	}
}
