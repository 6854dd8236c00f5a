// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// defaultAllow is the profile that allows traffic without a decision by a policy. Without a
// profile, an endpoint drops all traffic in both directions.
const defaultAllow = "projectcalico-default-allow"

// RenderEndpoints returns only the host endpoints. The endpoints of a node with
// older rules depend on nothing but the node.
func RenderEndpoints(hosts backend.Hosts) []backend.Object {
	var objects []backend.Object
	for _, endpoint := range hostEndpoints(hosts) {
		objects = append(objects, endpoint)
	}
	return objects
}

// hostEndpoints returns the host endpoints: an endpoint for each interface with a
// component, and an endpoint for every interface of a node, unless all components have
// an interface.
func hostEndpoints(hosts backend.Hosts) []*v3.HostEndpoint {
	var out []*v3.HostEndpoint
	interfaces, every := componentInterfaces(hosts)
	for _, node := range hosts.Nodes {
		switch {
		case hosts.HasOlderRules(node):
			for _, iface := range node.Interfaces {
				out = append(out, newHostEndpoint(hosts.Policy, node, iface))
			}
		case node.Ruleset.Restricts() && !node.Foreign:
			for _, iface := range slices.Concat(interfaces, node.Leaving) {
				out = append(out, newHostEndpoint(hosts.Policy, node, iface))
			}
			if every { // last: an endpoint for every interface would also govern an interface whose own endpoint does not exist yet
				out = append(out, newHostEndpoint(hosts.Policy, node, ""))
			}
		}
	}
	return out
}

// EndpointInterfaces returns the interfaces of a node that get a host endpoint; "*" is
// every interface.
func EndpointInterfaces(hosts backend.Hosts) []string {
	interfaces, every := componentInterfaces(hosts)
	if every {
		interfaces = append(interfaces, backend.EveryInterface)
	}
	return interfaces
}

// componentInterfaces returns the interfaces to which components are restricted, and
// whether an endpoint for every interface is needed. The latter is needed for a component
// without an interface; for a component with an address, because the address could be
// reached through another interface; and to deny unlisted traffic.
func componentInterfaces(hosts backend.Hosts) (interfaces []string, every bool) {
	every = hosts.DenyUnlisted
	for _, component := range hosts.Components {
		if component.Interface == "" || component.Address.IsValid() {
			every = true
		}
		if component.Interface != "" {
			interfaces = append(interfaces, component.Interface)
		}
	}
	slices.Sort(interfaces)
	return slices.Compact(interfaces), every
}

func newHostEndpoint(policy string, node backend.Node, iface string) *v3.HostEndpoint {
	object := &v3.HostEndpoint{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindHostEndpoint},
		ObjectMeta: metav1.ObjectMeta{Name: EndpointName(node.Name, iface), Labels: policyLabels(policy)},
		Spec: v3.HostEndpointSpec{
			Node: node.Name, InterfaceName: backend.EveryInterface, ExpectedIPs: sortedAddresses(node.Addresses), Profiles: []string{defaultAllow},
		},
	}
	if iface != "" {
		// The operator does not know which addresses of the node are on the interface.
		// The endpoint does not need the addresses: no managed rule selects endpoints
		// as sources.
		object.Labels[LabelInterface], object.Spec.InterfaceName, object.Spec.ExpectedIPs = iface, iface, nil
	}
	object.Labels[LabelVersion], object.Labels[LabelEnforced] = node.Ruleset.Version, "true"
	return object
}

func sortedAddresses(addresses []netip.Addr) []string {
	sorted := slices.Clone(addresses)
	slices.SortFunc(sorted, netip.Addr.Compare)
	out := make([]string, 0, len(sorted))
	for _, address := range slices.Compact(sorted) {
		out = append(out, address.String())
	}
	return out
}

// IsEnforcing says whether the denials of the ruleset act on a host endpoint.
func IsEnforcing(endpoint *v3.HostEndpoint) bool { return endpoint.Labels[LabelEnforced] == "true" }
