// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Facts is the input of Detect.
type Facts struct {
	Nodes []Node
	// APIServer are the addresses of the API servers, from the EndpointSlice of the
	// Service default/kubernetes.
	APIServer []netip.AddrPort
	// Shared are the addresses of several nodes, which so identify no node.
	Shared []netip.Addr
	// DaemonSets are the DaemonSets of the cluster, or at least those with a name in
	// daemonSets.
	DaemonSets []types.NamespacedName
	// ConfigMaps are the existing ConfigMaps with a name from ConfigMaps, and with the
	// values of the keys from ConfigMapKeys.
	ConfigMaps map[types.NamespacedName]map[string]string
	// APIGroups are the names of the API groups that the API server serves.
	APIGroups []string
}

// Node is the part of a node that Detect reads.
type Node struct {
	Name   string
	Labels map[string]string
	// Annotations are the keys of the node's annotations. Values has the values of the
	// annotations that EndpointAnnotations returns.
	Annotations []string
	Values      map[string]string
	// Addresses are the addresses at which the node can be reached.
	Addresses []netip.Addr
	// KubeletVersion, OSImage and ProviderID are the fields of the same names.
	KubeletVersion, OSImage, ProviderID string
	// WithoutNetworkPolicies says that k3s was started with --disable-network-policy on
	// the node.
	WithoutNetworkPolicies bool
}

// isControlPlane says whether the node has a label of the control plane. A kubelet may
// not set such a label on its own node (NodeRestriction).
func (n Node) isControlPlane() bool {
	return slices.ContainsFunc(controlPlaneLabels, func(label string) bool {
		_, is := n.Labels[label]
		return is
	})
}

// Detection is the kind of a cluster, as far as the cluster shows the kind.
type Detection struct {
	// Distribution and CNI are names that Resolve accepts, or Unknown.
	Distribution, CNI Finding
	// APIServerPorts are the ports of the API servers, sorted, in the form of
	// Overrides.
	APIServerPorts []uint16
	// Elsewhere are the addresses of API servers that belong to no node, sorted. If all
	// addresses of API servers are elsewhere, the control plane may not run on nodes of
	// the cluster.
	Elsewhere []netip.AddrPort
}

// Unknown is the value of a finding if signs are missing or contradict each other.
const Unknown = "Unknown"

// Finding is a detected value, with the reason.
type Finding struct {
	Value string
	// Reason is a sentence about the found signs. If Value is Unknown, Reason names the
	// field to set by hand.
	Reason string
}

// IsKnown says whether the value was detected.
func (f Finding) IsKnown() bool { return f.Value != Unknown && f.Value != "" }

// Detect returns the kind of the cluster that the facts show. Detect never guesses: if
// signs are missing or contradict each other, the answer is Unknown.
func Detect(facts Facts) Detection {
	facts.Nodes = sortByName(facts.Nodes)
	return Detection{
		Distribution: detectDistribution(facts), CNI: detectCNI(facts),
		APIServerPorts: portNumbers(facts.APIServer), Elsewhere: serversElsewhere(facts),
	}
}

// sortByName returns the nodes sorted by name. Nodes from the observer are sorted
// already, and sorting thousands of nodes again takes long.
func sortByName(nodes []Node) []Node {
	byName := func(a, b Node) int { return cmp.Compare(a.Name, b.Name) }
	if slices.IsSortedFunc(nodes, byName) {
		return nodes
	}
	return slices.SortedFunc(slices.Values(nodes), byName)
}

// portNumbers returns the ports of the addresses, sorted.
func portNumbers(addresses []netip.AddrPort) []uint16 {
	set := sets.New[uint16]()
	for _, address := range addresses {
		set.Insert(address.Port())
	}
	return sets.List(set)
}

// serversElsewhere returns the addresses of API servers that belong to no node, sorted.
func serversElsewhere(facts Facts) []netip.AddrPort {
	all := slices.SortedFunc(slices.Values(facts.APIServer), netip.AddrPort.Compare)
	return slices.DeleteFunc(slices.Compact(all), func(server netip.AddrPort) bool {
		return slices.ContainsFunc(facts.Nodes, func(n Node) bool { return slices.Contains(n.Addresses, server.Addr()) })
	})
}

// controlPlaneNodes returns the nodes that are trusted to show the kind of the cluster: the
// nodes with the label of the control plane, which no kubelet can set (NodeRestriction,
// https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction);
// without such nodes, the nodes with an API server's address; otherwise all nodes. Other nodes
// prove nothing, because a kubelet may write any value to its node.
func controlPlaneNodes(facts Facts) []Node {
	for _, is := range []func(Node) bool{isLabelledControlPlane, func(n Node) bool { return hasServerAddress(n, facts.APIServer) }} {
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

// LabelsControlPlane says whether any node has the label of the control plane.
func (f Facts) LabelsControlPlane() bool { return slices.ContainsFunc(f.Nodes, isLabelledControlPlane) }

// isShownByNodes says whether at least one node shows an API server's address. Several
// nodes may show the address: a kubelet with the address of another node must not make the
// cluster look hosted.
func (f Facts) isShownByNodes() bool {
	return slices.ContainsFunc(f.Nodes, func(n Node) bool { return hasServerAddress(n, f.APIServer) }) ||
		slices.ContainsFunc(f.APIServer, func(s netip.AddrPort) bool { return slices.Contains(f.Shared, s.Addr()) })
}

// isLabelledControlPlane says whether a node has the label of the control plane.
func isLabelledControlPlane(node Node) bool {
	return slices.ContainsFunc(controlPlaneLabels, func(label string) bool {
		_, is := node.Labels[label]
		return is
	})
}

// hasServerAddress says whether an API server has an address of the node.
func hasServerAddress(node Node, servers []netip.AddrPort) bool {
	return slices.ContainsFunc(servers, func(s netip.AddrPort) bool { return slices.Contains(node.Addresses, s.Addr()) })
}

// adviseByHand returns what to write if a field of spec.profile cannot be detected.
func adviseByHand(field, example string, accepted []string) string {
	others := slices.DeleteFunc(slices.Clone(accepted), func(name string) bool { return name == example })
	return "write it by hand: spec: {profile: {" + field + ": " + example + "}}, or one of " + joinWithAnd(others) + " in its place"
}

func adviseDistribution() string {
	l, err := library()
	if err != nil {
		return "" // Resolve returns the error
	}
	return adviseByHand("distribution", kubeadm, l.DistributionNames())
}

func adviseCNI() string {
	l, err := library()
	if err != nil {
		return ""
	}
	return adviseByHand("cni", calico, l.CNINames())
}
