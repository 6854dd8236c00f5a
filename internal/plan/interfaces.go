// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// interfacesOf returns the interfaces of the endpoints for a node with an older version of
// the rules; "" stands for every interface. The interfaces come from the version's rules
// and from the node's endpoints of the version. If neither is left, all of the node's
// managed endpoints count.
//
// An interface without a managed endpoint is left out if a foreign endpoint is in place.
// The endpoint for every interface comes last: until the others exist, their interfaces
// would fall under the endpoint for every interface.
func interfacesOf(version, policy, node string, live backend.Live, endpoints []backend.Endpoint) []string {
	interfaces := map[string]bool{}
	for _, iface := range live.RuleInterfaces(policy, version) {
		interfaces[iface] = true
	}
	all := map[string]bool{}
	for _, e := range EndpointsOn(policy, node, endpoints) {
		all[ruledInterface(e)] = true
		if e.Version == version {
			interfaces[ruledInterface(e)] = true
		}
	}
	if len(interfaces) == 0 {
		interfaces = all
	}
	maps.DeleteFunc(interfaces, func(iface string, _ bool) bool {
		return !all[iface] && hasForeignEndpoint(iface, node, endpoints)
	})
	every := interfaces[""]
	delete(interfaces, "")
	sorted := slices.Sorted(maps.Keys(interfaces))
	if every {
		sorted = append(sorted, "")
	}
	return sorted
}

// ruledInterface returns the interface of which the rules act on an endpoint; "" stands for
// every interface.
func ruledInterface(e backend.Endpoint) string {
	if e.RulesFor == backend.EveryInterface {
		return ""
	}
	return e.RulesFor
}

// hasForeignEndpoint tells whether a foreign endpoint is in place for an interface of the node.
func hasForeignEndpoint(iface, node string, endpoints []backend.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e backend.Endpoint) bool {
		return e.Node == node && !e.Managed && e.Interface == cmp.Or(iface, backend.EveryInterface)
	})
}

// interfacesToRemove returns the interfaces for which the node has endpoints, and the wanted
// rules need none.
func interfacesToRemove(needed []string, endpoints []backend.Endpoint) []string {
	var out []string
	for _, e := range endpoints {
		if !slices.Contains(needed, e.RulesFor) {
			out = append(out, ruledInterface(e))
		}
	}
	return slices.Sorted(slices.Values(out))
}

// EndpointsOn returns the managed endpoints of a policy on a node.
func EndpointsOn(policy, node string, endpoints []backend.Endpoint) []backend.Endpoint {
	var out []backend.Endpoint
	for i := range endpoints {
		if endpoints[i].IsManagedFor(policy, node) {
			out = append(out, endpoints[i])
		}
	}
	return out
}
