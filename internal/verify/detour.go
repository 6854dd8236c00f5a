// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// detours finds components that are restricted on one interface, while addresses
// of the interface are reached through the others as well: a host answers to each
// of its addresses on every interface. Where all that is not listed is denied, the
// detour is denied with it.
func detours(hosts plan.Hosts, _ state.Calico) *Verdict {
	if hosts.Calico.DenyUnlisted {
		return nil
	}
	var open []string
	families := familiesOf(hosts.Calico.Nodes)
	for _, component := range hosts.Calico.Components {
		if component.Interface == "" {
			continue
		}
		without := slices.DeleteFunc(slices.Clone(families), func(ipv6 bool) bool {
			return closesDetour(hosts.Calico.Components, component, ipv6)
		})
		switch {
		case len(without) == 0:
		case len(without) == len(families):
			open = append(open, fmt.Sprintf("%s (%s)", component.Name, component.Interface))
		default:
			open = append(open, fmt.Sprintf("%s (%s, %s)", component.Name, component.Interface, version(without[0])))
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &Verdict{
		Reason: v1alpha1.ReasonDetourOpen,
		Message: "Components are restricted on one interface, whose addresses are reached through other interfaces too: " +
			wording.Names(open) + ": set addressCIDR of the component to the network of the interface; for the other IP version " +
			"add a component with the same interface and ports",
	}
}

// familiesOf returns the IP versions that nodes have addresses of, of each whether
// it is IPv6. What they have on an interface of its own may not be among what they
// show: that it is of the same versions is what can be known.
func familiesOf(nodes []calico.Node) []bool {
	var families []bool
	for _, node := range nodes {
		for _, address := range node.Addresses {
			if !slices.Contains(families, address.Is6()) {
				families = append(families, address.Is6())
			}
		}
	}
	return families
}

func version(ipv6 bool) string {
	if ipv6 {
		return "IPv6"
	}
	return "IPv4"
}

// closesDetour says whether components have addresses of an IP version for the
// interface, and all ports, of one of them.
func closesDetour(components []calico.Component, of calico.Component, ipv6 bool) bool {
	return !slices.ContainsFunc(of.Ports, func(port profile.Traffic) bool {
		return !slices.ContainsFunc(components, func(c calico.Component) bool {
			return c.Interface == of.Interface && c.Address.IsValid() && c.Address.Addr().Is6() == ipv6 &&
				slices.ContainsFunc(c.Ports, func(closed profile.Traffic) bool { return covers(closed, port) })
		})
	})
}
