// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Facts is what Detect looks at.
type Facts struct {
	Nodes []Node
	// APIServer are the addresses of the API servers: those of the
	// EndpointSlice of the Service default/kubernetes.
	APIServer []netip.AddrPort
	// DaemonSets are those of the cluster, or at least those of DaemonSets.
	DaemonSets []types.NamespacedName
	// ConfigMaps are those of ConfigMaps that exist, with the values of the keys
	// that ConfigMapKeys returns.
	ConfigMaps map[types.NamespacedName]map[string]string
	// APIGroups are the names of the groups that the API server serves.
	APIGroups []string
}

// Node is what Detect looks at in a node.
type Node struct {
	Name   string
	Labels map[string]string
	// Annotations are the keys of its annotations. Values are those of the
	// annotations that EndpointAnnotations returns.
	Annotations []string
	Values      map[string]string
	// Addresses are those that the node itself can be reached at.
	Addresses []netip.Addr
	// KubeletVersion, OSImage and ProviderID are the fields of these names.
	KubeletVersion, OSImage, ProviderID string
	// WithoutNetworkPolicies says that k3s was started with
	// --disable-network-policy there.
	WithoutNetworkPolicies bool
}

// controlPlane says whether the node is labelled as one of the control plane. A
// kubelet may not set such a label on its own node (NodeRestriction).
func (n Node) controlPlane() bool {
	return slices.ContainsFunc(controlPlaneLabels, func(label string) bool {
		_, is := n.Labels[label]
		return is
	})
}

// Detection is what a cluster is.
type Detection struct {
	// Distribution and CNI are names that Resolve takes, or Unknown.
	Distribution, CNI Finding
	// APIServerPorts are the ports of the API servers, sorted, in the form of
	// Overrides.
	APIServerPorts []uint16
	// Elsewhere are the addresses of API servers that are no node's, sorted. If
	// these are all, the control plane may not run on nodes of the cluster.
	Elsewhere []netip.AddrPort
}

// Unknown is what is found where signs are missing or contradict each other.
const Unknown = "Unknown"

// Finding is what was found, and why.
type Finding struct {
	Value string
	// Reason says in a sentence what was found, and if Value is Unknown what
	// to set by hand.
	Reason string
}

// Known says whether something was found.
func (f Finding) Known() bool { return f.Value != Unknown && f.Value != "" }

// Detect tells from the facts what a cluster is. It never guesses: where signs
// are missing or contradict each other the answer is Unknown.
func Detect(facts Facts) Detection {
	facts.Nodes = inOrder(facts.Nodes)
	return Detection{
		Distribution: detectDistribution(facts), CNI: detectCNI(facts),
		APIServerPorts: ports(facts.APIServer), Elsewhere: elsewhere(facts),
	}
}

// inOrder returns the nodes sorted by name. The observer's are: to sort thousands once
// more takes long.
func inOrder(nodes []Node) []Node {
	byName := func(a, b Node) int { return cmp.Compare(a.Name, b.Name) }
	if slices.IsSortedFunc(nodes, byName) {
		return nodes
	}
	return slices.SortedFunc(slices.Values(nodes), byName)
}

// ports returns the ports of the addresses, sorted.
func ports(addresses []netip.AddrPort) []uint16 {
	set := sets.New[uint16]()
	for _, address := range addresses {
		set.Insert(address.Port())
	}
	return sets.List(set)
}

// elsewhere returns the API servers' addresses that are no node's, sorted.
func elsewhere(facts Facts) []netip.AddrPort {
	all := slices.SortedFunc(slices.Values(facts.APIServer), netip.AddrPort.Compare)
	return slices.DeleteFunc(slices.Compact(all), func(server netip.AddrPort) bool {
		return slices.ContainsFunc(facts.Nodes, func(n Node) bool { return slices.Contains(n.Addresses, server.Addr()) })
	})
}

// controlPlane returns the nodes whose word on the cluster counts: those with the
// label of the control plane, which no kubelet can give its node (NodeRestriction,
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction);
// without any, those that have an API server's address; without these, all. What
// the others show is their kubelets' word: they may be anything.
func controlPlane(facts Facts) []Node {
	for _, is := range []func(Node) bool{labelled, func(n Node) bool { return serves(n, facts.APIServer) }} {
		var some []Node
		for i := range facts.Nodes {
			if is(facts.Nodes[i]) {
				some = append(some, facts.Nodes[i])
			}
		}
		if len(some) > 0 {
			return some
		}
	}
	return facts.Nodes
}

// labelled says whether a node has the label of the control plane.
func labelled(node Node) bool {
	return slices.ContainsFunc(controlPlaneLabels, func(label string) bool {
		_, is := node.Labels[label]
		return is
	})
}

// serves says whether an API server has an address of the node.
func serves(node Node, servers []netip.AddrPort) bool {
	return slices.ContainsFunc(servers, func(s netip.AddrPort) bool { return slices.Contains(node.Addresses, s.Addr()) })
}

// byHand returns what to write where a field of spec.profile cannot be found out.
func byHand(field, example string, accepted []string) string {
	others := slices.DeleteFunc(slices.Clone(accepted), func(name string) bool { return name == example })
	return "write it by hand: spec: {profile: {" + field + ": " + example + "}}, or one of " + and(others) + " in its place"
}

func byHandDistribution() string {
	l, err := library()
	if err != nil {
		return "" // Resolve says so
	}
	return byHand("distribution", kubeadm, l.Distributions())
}

func byHandCNI() string {
	l, err := library()
	if err != nil {
		return ""
	}
	return byHand("cni", calico, l.CNIs())
}
