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

// interfacesOf returns the interfaces, "" for every one, of the endpoints that a
// node with an older version has, or goes back to: those that its policies are for,
// and those that have it still. Where neither is known any more, all that there are.
// What is not there any more does not come beside an endpoint of others. Every
// interface is the last one: until others have their own, it would govern them too.
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

// taken says whether an endpoint of others is for an interface of a node.
func taken(iface, node string, endpoints []v3.HostEndpoint) bool {
	return slices.ContainsFunc(endpoints, func(e v3.HostEndpoint) bool {
		return e.Spec.Node == node && !calico.IsManagedEndpoint(&e) && e.Spec.InterfaceName == cmp.Or(iface, calico.EveryInterface)
	})
}

// leaving returns the interfaces that a node has endpoints for, and the rules that
// are called for do not.
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

// EndpointsOn returns the endpoints of the operator's that a policy has on a node.
func EndpointsOn(policy, node string, endpoints []v3.HostEndpoint) []*v3.HostEndpoint {
	var out []*v3.HostEndpoint
	for i := range endpoints {
		if e := &endpoints[i]; e.Spec.Node == node && e.Labels[v1alpha1.LabelPolicy] == policy && calico.IsManagedEndpoint(e) {
			out = append(out, e)
		}
	}
	return out
}
