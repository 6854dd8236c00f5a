// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// findInterfaceBypasses finds components with a restriction on a single interface,
// while the addresses of the interface are reached through other interfaces too: every
// interface of a host answers to every address of the host. With DenyUnlisted, such
// traffic is denied on every interface, so that there is no bypass.
func findInterfaceBypasses(hosts plan.Hosts, _ calico.Live) *verify.Verdict {
	if hosts.Now.DenyUnlisted {
		return nil
	}
	var open []string
	versions := versionsOf(hosts.Now.Nodes)
	for _, component := range hosts.Now.Components {
		if component.Interface == "" {
			continue
		}
		without := slices.DeleteFunc(slices.Clone(versions), func(version string) bool {
			return closesBypass(hosts.Now.Components, component, version)
		})
		switch {
		case len(without) == 0:
		case len(without) == len(versions):
			open = append(open, fmt.Sprintf("%s (%s)", component.Name, component.Interface))
		default:
			open = append(open, fmt.Sprintf("%s (%s, %s)", component.Name, component.Interface, without[0]))
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &verify.Verdict{
		Reason: v1alpha1.ReasonBypassPossible,
		Message: "Components are restricted on one interface only, and the addresses of the interface are reachable " +
			"through other interfaces too: " +
			wording.ListNames(open) + ": set addressCIDR of the component to the network of the interface; for the other IP version " +
			"add a component with the same interface and ports",
	}
}

// versionsOf returns the IP versions of the nodes' addresses. A node may not show the
// addresses of a dedicated interface: such addresses are assumed to be of the same
// versions.
func versionsOf(nodes []backend.Node) []string {
	var versions []string
	for _, node := range nodes {
		for _, address := range node.Addresses {
			if version := versionOf(address); !slices.Contains(versions, version) {
				versions = append(versions, version)
			}
		}
	}
	return versions
}

func versionOf(address netip.Addr) string {
	if address.Is6() {
		return "IPv6"
	}
	return "IPv4"
}

// closesBypass says whether every port of a component is restricted on the addresses of
// an IP version too: by the component, or by another component on the same interface,
// with an address of the version.
func closesBypass(components []backend.Component, of backend.Component, version string) bool {
	return !slices.ContainsFunc(of.Ports, func(port profile.Traffic) bool {
		return !slices.ContainsFunc(components, func(c backend.Component) bool {
			return c.Interface == of.Interface && c.Address.IsValid() && versionOf(c.Address.Addr()) == version &&
				slices.ContainsFunc(c.Ports, func(closed profile.Traffic) bool { return closed.Covers(port) })
		})
	})
}
