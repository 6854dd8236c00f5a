// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	nodes := slices.SortedFunc(slices.Values(facts.Nodes), func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	facts.Nodes = nodes
	detection := Detection{APIServerPorts: ports(facts.APIServer), Elsewhere: elsewhere(facts)}
	detection.Distribution = detectDistribution(facts, detection.Elsewhere)
	detection.CNI = detectCNI(facts)
	return detection
}

// sign is one thing that was found, and what it stands for.
type sign struct {
	// value is the name of a distribution or of a CNI.
	value string
	// found says what was found, as the beginning of a sentence.
	found string
}

// detectDistribution joins the signs of all nodes and of the cluster.
func detectDistribution(facts Facts, elsewhere []netip.AddrPort) Finding {
	const byHand = "set the profile's distribution by hand"
	var signs []sign
	silent := 0
	for _, node := range facts.Nodes {
		more := nodeSigns(node)
		if len(more) == 0 {
			silent++
		}
		signs = append(signs, more...)
	}
	signs = append(signs, clusterSigns(facts)...)
	if contradiction := contradicting(signs); contradiction != "" {
		return Finding{Unknown, contradiction + ": " + byHand}
	}
	switch {
	case len(signs) == 0 && len(elsewhere) > 0 && len(elsewhere) == len(facts.APIServer):
		return Finding{Unknown, fmt.Sprintf("no node shows a sign of a distribution that is known, and no API server has "+
			"a node's address (%s is one's): %s, to managed if the control plane is not on nodes of this cluster", elsewhere[0], byHand)}
	case len(signs) == 0:
		return Finding{Unknown, "no node shows a sign of a distribution that is known: " + byHand}
	case signs[0].value == managed:
		return checkManaged(facts, signs[0], byHand)
	}
	reason := signs[0].found
	if silent > 0 {
		reason += fmt.Sprintf(", and %d of %d nodes show no sign of their own", silent, len(facts.Nodes))
	}
	return Finding{signs[0].value, reason}
}

// checkManaged says that a cluster is managed unless its control plane is on
// its nodes after all.
func checkManaged(facts Facts, found sign, byHand string) Finding {
	for _, node := range facts.Nodes {
		for _, label := range controlPlaneLabels {
			if _, ok := node.Labels[label]; ok {
				return Finding{Unknown, fmt.Sprintf("%s as in a managed cluster, but node %s has the label %s: %s",
					found.found, node.Name, label, byHand)}
			}
		}
		for _, server := range facts.APIServer {
			if slices.Contains(node.Addresses, server.Addr()) {
				return Finding{Unknown, fmt.Sprintf("%s as in a managed cluster, but the API server %s has an address of node %s: %s",
					found.found, server, node.Name, byHand)}
			}
		}
	}
	return Finding{managed, found.found}
}

// detectCNI goes by the DaemonSets that run the CNI. Flannel, which k3s has
// built in, may have none, and is then told by what it notes on nodes. API
// groups outlive the CNI that they are from, so that they prove nothing: they
// are only mentioned.
func detectCNI(facts Facts) Finding {
	const byHand = "set the profile's CNI by hand"
	signs := daemonSetSigns(facts.DaemonSets)
	running := sets.New[string]()
	for _, s := range signs {
		running.Insert(s.value)
	}
	if s, ok := flannelSign(facts.Nodes); ok && !running.Has(canal) {
		signs = append(signs, s)
	}
	if contradiction := contradicting(signs); contradiction != "" {
		return Finding{Unknown, contradiction + ": " + byHand}
	}
	if len(signs) == 0 {
		reason := "there is no DaemonSet of a CNI that is known"
		if group := cniGroup(facts.APIGroups); group != "" {
			reason += ", although the API group " + group + " is served"
		}
		return Finding{Unknown, reason + ": " + byHand}
	}
	if _, foreign := strings.CutPrefix(signs[0].value, foreignCNI); foreign {
		return Finding{Unknown, signs[0].found + ", for which there is no profile: " + byHand +
			" to one that needs the same flows, if there is one"}
	}
	return Finding{signs[0].value, signs[0].found}
}

// contradicting returns two signs that stand for different things, in words, or
// nothing if all stand for the same.
func contradicting(signs []sign) string {
	for _, s := range signs {
		if first := signs[0]; s.value != first.value {
			return fmt.Sprintf("%s (%s), but %s (%s)", first.found, strings.TrimPrefix(first.value, foreignCNI),
				s.found, strings.TrimPrefix(s.value, foreignCNI))
		}
	}
	return ""
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
