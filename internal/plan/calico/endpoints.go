// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// EveryInterface is the name of the interface of an endpoint for all.
	EveryInterface = "*"
	// defaultAllow is the profile that allows what no policy decides. Without a
	// profile, an endpoint drops everything both ways.
	defaultAllow = "projectcalico-default-allow"
)

// Endpoints returns the host endpoints alone. Of nodes with older rules, they
// depend on nothing else than the node.
func Endpoints(hosts Hosts) []Object {
	var objects []Object
	for _, endpoint := range endpoints(hosts) {
		objects = append(objects, endpoint)
	}
	return objects
}

// endpoints returns the host endpoints: one for every interface of a node,
// unless all components are on interfaces of their own, and one for each such
// interface.
func endpoints(hosts Hosts) []*v3.HostEndpoint {
	var out []*v3.HostEndpoint
	interfaces, every := interfacesOf(hosts)
	version := Version(hosts)
	for _, node := range hosts.Nodes {
		if !node.Enforced || node.Foreign && node.Older == "" {
			continue
		}
		if node.Older != "" {
			for _, iface := range node.Interfaces {
				out = append(out, endpoint(hosts.Policy, node.Older, node, iface))
			}
			continue
		}
		for _, iface := range slices.Concat(interfaces, node.Leaving) {
			out = append(out, endpoint(hosts.Policy, version, node, iface))
		}
		if every { // last: until an interface has its own, it would govern that too
			out = append(out, endpoint(hosts.Policy, version, node, ""))
		}
	}
	return out
}

// Interfaces returns the interfaces of a node that get an endpoint; "*" is every
// interface.
func Interfaces(hosts Hosts) []string {
	interfaces, every := interfacesOf(hosts)
	if every {
		interfaces = append(interfaces, EveryInterface)
	}
	return interfaces
}

// interfacesOf returns the interfaces that components are restricted to, and
// whether an endpoint for every interface is needed: for a component without an
// interface, for one with an address, which could be reached through another
// interface, and to deny what is not listed.
func interfacesOf(hosts Hosts) (interfaces []string, every bool) {
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

func endpoint(policy, version string, node Node, iface string) *v3.HostEndpoint {
	object := &v3.HostEndpoint{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindHostEndpoint},
		ObjectMeta: metav1.ObjectMeta{Name: EndpointName(node.Name, iface), Labels: labels(policy)},
		Spec: v3.HostEndpointSpec{
			Node: node.Name, InterfaceName: EveryInterface, ExpectedIPs: sortedAddresses(node.Addresses), Profiles: []string{defaultAllow},
		},
	}
	if iface != "" {
		// Which of the node's addresses are on the interface is not known here,
		// and not needed: no rule of ours selects endpoints as sources.
		object.Labels[LabelInterface], object.Spec.InterfaceName, object.Spec.ExpectedIPs = iface, iface, nil
	}
	object.Labels[LabelVersion], object.Labels[LabelEnforced] = version, "true"
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

// Enforces says whether an endpoint denies what its ruleset denies.
func Enforces(endpoint *v3.HostEndpoint) bool { return endpoint.Labels[LabelEnforced] == "true" }
