// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// detectDistribution looks first at where the API servers are, then at the strongest
// sign of each control-plane node, then at the ConfigMap of kubeadm.
func detectDistribution(facts Facts) Finding {
	nodes := controlPlaneNodes(facts)
	if finding, hosted := detectHosted(facts); hosted {
		return finding
	}
	var signs []sign
	silent := 0
	for _, node := range nodes {
		more := strongestSigns(nodeSigns(node))
		if len(more) == 0 {
			silent++
		}
		signs = append(signs, more...)
	}
	if !slices.ContainsFunc(signs, func(s sign) bool { return s.strength <= byImage }) {
		signs = append(signs, clusterSigns(facts)...)
	}
	if contradiction := describeContradiction(signs); contradiction != "" {
		return Finding{Unknown, contradiction + ": " + adviseDistribution()}
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

// unknownDistribution says what to write if the nodes show no distribution with a
// profile.
func unknownDistribution(nodes []Node) Finding {
	for _, node := range nodes {
		for _, is := range relatives {
			for _, label := range slices.Sorted(maps.Keys(node.Labels)) {
				value := node.Labels[label]
				if strings.HasPrefix(label, is.label) && (is.value == "" || is.value == value) {
					return Finding{Unknown, fmt.Sprintf("node %s has the label %s, as in clusters of %s, which has no profile of its own: %s. %s",
						node.Name, label, is.name, adviseDistribution(), is.mind)}
				}
			}
		}
	}
	return Finding{Unknown, "no node of the control plane shows a sign of a distribution that is known: " + adviseDistribution()}
}

// detectHosted says whether the control plane runs outside the nodes of the cluster.
// This is so if no API server has the address of a node, and either no node has the
// label of the control plane, or all nodes with the label are the provider's (IBM
// Cloud's Red Hat OpenShift labels every worker a master). If the addresses of the API
// servers are not known, and no node has the label of the control plane, a provider's
// label decides.
func detectHosted(facts Facts) (Finding, bool) {
	away := serversElsewhere(facts)
	if facts.isShownByNodes() || len(facts.Nodes) == 0 {
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
	return Finding{managed, reason + describeServersWithoutNodes(facts.Nodes) + ". If it is on nodes after all, " + adviseDistribution()}, true
}

// countProvided returns the first provider's label on a node, the number of nodes with
// the label of the control plane, and how many of the latter have a provider's label
// too.
func countProvided(nodes []Node) (provider string, ofProvider, ofControlPlane int) {
	for _, node := range nodes {
		label := providerLabel(node)
		if label != "" && provider == "" {
			provider = fmt.Sprintf("node %s has the label %s", node.Name, label)
		}
		if isLabelledControlPlane(node) {
			ofControlPlane++
			if label != "" {
				ofProvider++
			}
		}
	}
	return provider, ofProvider, ofControlPlane
}

// describeServersWithoutNodes returns a remark on control-plane machines without a
// kubelet, if nodes show a distribution that allows such machines.
func describeServersWithoutNodes(nodes []Node) string {
	for _, node := range nodes {
		for suffix, title := range map[string]string{"+k0s": "controllers of k0s", "+k3s": "servers of k3s (--disable-agent)"} {
			if strings.Contains(node.KubeletVersion, suffix) {
				return ": " + title + " that run no kubelet are not nodes of the cluster, " +
					"and only a firewall on each machine can protect these machines"
			}
		}
	}
	return ""
}

// describeContradiction describes two signs that stand for different values; empty if
// all signs stand for the same value.
func describeContradiction(signs []sign) string {
	for _, s := range signs {
		if first := signs[0]; s.value != first.value {
			return fmt.Sprintf("%s (%s), but %s (%s)", first.found, first.value, s.found, s.value)
		}
	}
	return ""
}
