// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"maps"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// interfacesOf returns the interfaces of the endpoints for a node with an older version of
// the rules; "" stands for every interface. The interfaces come from the version's policies
// and from the node's endpoints of the version. If neither is left, all of the node's
// managed endpoints count.
//
// An interface without a managed endpoint is left out if a foreign endpoint is in place.
// The endpoint for every interface comes last: until the others exist, their interfaces
// would fall under the endpoint for every interface.
func interfacesOf(version, policy, node string, there state.Calico) []string {
	interfaces := map[string]bool{}
	for i := range there.Policies {
		p := &there.Policies[i]
		if p.Labels[v1alpha1.LabelPolicy] != policy || p.Labels[calico.LabelVersion] != version {
			continue
		}
		if iface, needed := calico.EndpointInterfaceFor(p); needed {
			interfaces[iface] = true
		}
	}
	all := map[string]bool{}
	for _, e := range EndpointsOn(policy, node, there.Endpoints) {
		all[e.Labels[calico.LabelInterface]] = true
		if e.Labels[calico.LabelVersion] == version {
			interfaces[e.Labels[calico.LabelInterface]] = true
		}
	}
	if len(interfaces) == 0 {
		interfaces = all
	}
	maps.DeleteFunc(interfaces, func(iface string, _ bool) bool { return !all[iface] && taken(iface, node, there.Endpoints) })
	every := interfaces[""]
	delete(interfaces, "")
	sorted := slices.Sorted(maps.Keys(interfaces))
	if every {
		sorted = append(sorted, "")
	}
	return sorted
}

// taken tells whether a foreign endpoint is in place for an interface of the node.
func taken(iface, node string, endpoints []v3.HostEndpoint) bool {
	return slices.ContainsFunc(endpoints, func(e v3.HostEndpoint) bool {
		return e.Spec.Node == node && !calico.IsManagedEndpoint(&e) && e.Spec.InterfaceName == cmp.Or(iface, calico.EveryInterface)
	})
}

// leaving returns the interfaces for which the node has endpoints and the wanted rules have
// none.
func leaving(whole calico.Hosts, endpoints []*v3.HostEndpoint) []string {
	needed := calico.EndpointInterfaces(whole)
	var out []string
	for _, e := range endpoints {
		iface := e.Labels[calico.LabelInterface]
		if !slices.Contains(needed, cmp.Or(iface, calico.EveryInterface)) {
			out = append(out, iface)
		}
	}
	return slices.Sorted(slices.Values(out))
}

// EndpointsOn returns the managed endpoints of a policy on a node.
func EndpointsOn(policy, node string, endpoints []v3.HostEndpoint) []*v3.HostEndpoint {
	var out []*v3.HostEndpoint
	for i := range endpoints {
		if e := &endpoints[i]; e.Spec.Node == node && e.Labels[v1alpha1.LabelPolicy] == policy && calico.IsManagedEndpoint(e) {
			out = append(out, e)
		}
	}
	return out
}
