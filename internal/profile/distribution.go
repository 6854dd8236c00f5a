// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// detectDistribution goes by where the API servers are, then by the nodes of the
// control plane, each by its strongest sign, then by the ConfigMap of kubeadm.
func detectDistribution(facts Facts) Finding {
	nodes := controlPlane(facts)
	if finding, hosted := detectHosted(facts); hosted {
		return finding
	}
	var signs []sign
	silent := 0
	for _, node := range nodes {
		more := strongest(nodeSigns(node))
		if len(more) == 0 {
			silent++
		}
		signs = append(signs, more...)
	}
	if !slices.ContainsFunc(signs, func(s sign) bool { return s.strength <= byImage }) {
		signs = append(signs, clusterSigns(facts)...)
	}
	if contradiction := contradicting(signs); contradiction != "" {
		return Finding{Unknown, contradiction + ": " + byHandDistribution()}
	}
	if len(signs) == 0 {
		return unknownDistribution(nodes)
	}
	reason := signs[0].found
	if silent > 0 {
		reason += fmt.Sprintf(", and %d of %d nodes show no sign of their own", silent, len(nodes))
	}
	return Finding{signs[0].value, reason}
}

// unknownDistribution says what to write where no profile is shown.
func unknownDistribution(nodes []Node) Finding {
	for _, node := range nodes {
		for _, is := range relatives {
			for _, label := range slices.Sorted(maps.Keys(node.Labels)) {
				value := node.Labels[label]
				if strings.HasPrefix(label, is.label) && (is.value == "" || is.value == value) {
					return Finding{Unknown, fmt.Sprintf("node %s has the label %s, as in clusters of %s, which has no profile of its own: %s. %s",
						node.Name, label, is.name, byHandDistribution(), is.mind)}
				}
			}
		}
	}
	return Finding{Unknown, "no node of the control plane shows a sign of a distribution that is known: " + byHandDistribution()}
}

// detectHosted says whether the control plane is not on nodes of the cluster: no
// API server has the address of a node, and no node is labelled as of the control
// plane; or the provider labels all of these (IBM Cloud's Red Hat OpenShift labels
// every worker a master). Where the API servers are is not known, and no node is of
// the control plane, a provider's label tells.
func detectHosted(facts Facts) (Finding, bool) {
	away := elsewhere(facts)
	if slices.ContainsFunc(facts.Nodes, func(n Node) bool { return serves(n, facts.APIServer) }) || len(facts.Nodes) == 0 {
		return Finding{}, false
	}
	provider, ofProvider, ofControlPlane := countProvided(facts.Nodes)
	switch {
	case ofControlPlane > 0 && (ofProvider < ofControlPlane || len(away) == 0):
		return Finding{}, false
	case len(away) == 0 && provider == "":
		return Finding{}, false
	case len(away) == 0:
		return Finding{managed, provider + ", and no node is labelled as of the control plane"}, true
	}
	reason := fmt.Sprintf("no API server has an address of a node (one has %s)", away[0])
	if ofControlPlane == 0 {
		reason += ", and no node is labelled as of the control plane"
	}
	if provider != "" {
		reason += ", and " + provider
	}
	return Finding{managed, reason + withoutNodes(facts.Nodes) + ". If it is on nodes after all, " + byHandDistribution()}, true
}

// countProvided returns the first label of a provider that a node has, how many nodes
// are labelled as of the control plane, and how many of these have such a label.
func countProvided(nodes []Node) (provider string, ofProvider, ofControlPlane int) {
	for _, node := range nodes {
		label := providerLabel(node)
		if label != "" && provider == "" {
			provider = fmt.Sprintf("node %s has the label %s", node.Name, label)
		}
		if labelled(node) {
			ofControlPlane++
			if label != "" {
				ofProvider++
			}
		}
	}
	return provider, ofProvider, ofControlPlane
}

// withoutNodes names the distributions whose control plane may run on machines
// without a kubelet, where nodes show one of these.
func withoutNodes(nodes []Node) string {
	for _, node := range nodes {
		for suffix, title := range map[string]string{"+k0s": "controllers of k0s", "+k3s": "servers of k3s (--disable-agent)"} {
			if strings.Contains(node.KubeletVersion, suffix) {
				return ": " + title + " that run no kubelet are no nodes, and only their own firewall can protect them"
			}
		}
	}
	return ""
}

// contradicting returns two signs that stand for different things, in words, or
// nothing if all stand for the same.
func contradicting(signs []sign) string {
	for _, s := range signs {
		if first := signs[0]; s.value != first.value {
			return fmt.Sprintf("%s (%s), but %s (%s)", first.found, first.value, s.found, s.value)
		}
	}
	return ""
}
