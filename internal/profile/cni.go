// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Names of the data files of plugins whose flows are not known.
const (
	amazon   = "amazon-vpc-cni"
	azure    = "azure-cni"
	gke      = "gke"
	azureNPM = "azure-npm"
	policies = "kube-network-policies"
	k3sOwn   = "k3s-network-policies"
)

// daemonSets are the DaemonSets of plugins that connect pods or enforce
// NetworkPolicies, with the name of the plugin's data file. Plugins without a profile
// are listed too, because beside such a plugin no other plugin is the whole truth.
var daemonSets = map[types.NamespacedName]string{
	{Namespace: "calico-system", Name: "calico-node"}:             calico,
	{Namespace: "kube-system", Name: "calico-node"}:               calico,
	{Namespace: "kube-system", Name: "canal"}:                     canal,
	{Namespace: "kube-system", Name: "rke2-canal"}:                canal,
	{Namespace: "kube-flannel", Name: "kube-flannel-ds"}:          flannel,
	{Namespace: "kube-system", Name: "kube-flannel-ds"}:           flannel,
	{Namespace: "kube-system", Name: "kube-flannel"}:              flannel,
	{Namespace: "kube-system", Name: "cilium"}:                    cilium,
	{Namespace: "kube-system", Name: "anetd"}:                     cilium, // Dataplane V2 of GKE
	{Namespace: "cilium", Name: "cilium"}:                         cilium,
	{Namespace: "cilium-system", Name: "cilium"}:                  cilium,
	{Namespace: "openshift-ovn-kubernetes", Name: "ovnkube-node"}: ovn,
	{Namespace: "ovn-kubernetes", Name: "ovnkube-node"}:           ovn,
	{Namespace: "kube-system", Name: "antrea-agent"}:              "antrea",
	{Namespace: "kube-system", Name: "aws-node"}:                  amazon,
	{Namespace: "kube-system", Name: "azure-cns"}:                 azure,
	{Namespace: "kube-system", Name: "azure-npm"}:                 azureNPM,
	{Namespace: "kube-system", Name: "kindnet"}:                   "kindnet",
	{Namespace: "kube-system", Name: "kube-network-policies"}:     policies,
	{Namespace: "kube-system", Name: "kube-ovn-cni"}:              "kube-ovn",
	{Namespace: "kube-system", Name: "kube-router"}:               "kube-router",
	{Namespace: "kube-system", Name: "netd"}:                      gke,
	{Namespace: "kube-system", Name: "weave-net"}:                 "weave-net",
	{Namespace: "openshift-sdn", Name: "sdn"}:                     "openshift-sdn",
}

// cloudPlugins connect pods through the network of a cloud. Beside such a plugin,
// Calico enforces policies and gives no pod an address, and Cilium uses the plugin
// (chaining).
var cloudPlugins = []string{amazon, azure, gke}

// policyOnlyPlugins connect no pods, and so are no sign of a CNI.
var policyOnlyPlugins = []string{azureNPM, policies}

// isReservedNamespace says whether users of a cluster usually cannot create the
// namespace, because Kubernetes or a distribution reserves the name. DaemonSets in
// other namespaces count only if no reserved namespace has a known DaemonSet.
func isReservedNamespace(namespace string) bool {
	return strings.HasPrefix(namespace, "kube-") || strings.HasPrefix(namespace, "openshift-") || namespace == "calico-system"
}

// pluginSigns returns the signs of plugins that connect pods or enforce
// NetworkPolicies. Flannel in k3s may have no DaemonSet, because k3s has flannel built
// in; the sign is then flannel's annotation on nodes.
func pluginSigns(facts Facts) []sign {
	var own, others []sign
	for _, name := range facts.DaemonSets {
		value, known := daemonSets[name]
		s := sign{value: value, found: fmt.Sprintf("there is the DaemonSet %s", name)}
		switch {
		case known && isReservedNamespace(name.Namespace):
			own = append(own, s)
		case known:
			others = append(others, s)
		}
	}
	if len(own) == 0 {
		own = others
	}
	byDaemonSet := slices.ContainsFunc(own, func(s sign) bool { return s.value == canal || s.value == flannel })
	if s, ok := findFlannelSign(controlPlaneNodes(facts)); ok && !byDaemonSet {
		own = append(own, s)
	}
	return sortSigns(own)
}

// flannelAnnotation is set by flannel on its nodes, and stays when flannel is removed.
const flannelAnnotation = "flannel.alpha.coreos.com/backend-type"

// findFlannelSign returns a sign for the first node with flannel's annotation. The
// nodes are sorted by name.
func findFlannelSign(nodes []Node) (sign, bool) {
	for _, node := range nodes {
		if slices.Contains(node.Annotations, flannelAnnotation) {
			return sign{value: flannel, found: fmt.Sprintf("node %s has the annotation %s", node.Name, flannelAnnotation)}, true
		}
	}
	return sign{}, false
}

// detectCNI finds the CNI by the CNI's DaemonSets. API groups outlive their CNI and so are
// no proof: the reason only mentions API groups.
func detectCNI(facts Facts) Finding {
	signs := slices.DeleteFunc(pluginSigns(facts), func(s sign) bool { return slices.Contains(policyOnlyPlugins, s.value) })
	if pair, together := findPair(signs); together {
		return pair
	}
	if contradiction := describeContradiction(signs); contradiction != "" {
		return Finding{Unknown, contradiction + ": " + adviseCNI()}
	}
	if len(signs) == 0 {
		reason := "there is no DaemonSet of a CNI that is known"
		if group := cniGroup(facts.APIGroups); group != "" {
			reason += ", although the API group " + group + " is served"
		}
		return Finding{Unknown, reason + ": " + adviseCNI()}
	}
	l, err := library()
	if _, hasFlows := l.cnis[signs[0].value]; err == nil && !hasFlows {
		return Finding{Unknown, signs[0].found + ", for which there is no profile: if another CNI needs the same flows, " + adviseCNI()}
	}
	return Finding{signs[0].value, signs[0].found}
}

// findPair returns the finding for two plugins that share the work: the first connects
// pods, and the second enforces policies.
func findPair(signs []sign) (Finding, bool) {
	by := map[string]string{}
	for _, s := range signs {
		by[s.value] = s.found
	}
	names := sets.List(sets.KeySet(by))
	is := func(a, b string) bool { return len(names) == 2 && by[a] != "" && by[b] != "" }
	switch {
	case is(calico, flannel) && strings.HasPrefix(by[flannel], "there is"):
		return Finding{canal, by[calico] + ", and " + by[flannel] + ": flannel connects pods, Calico enforces policies"}, true
	case len(names) != 2:
		return Finding{}, false
	}
	for _, cloud := range cloudPlugins {
		for _, with := range []string{calico, cilium} {
			if is(with, cloud) {
				return Finding{with, fmt.Sprintf("%s, and %s: %s connects pods, %s enforces policies",
					by[with], by[cloud], pluginTitle(cloud), pluginTitle(with))}, true
			}
		}
	}
	return Finding{}, false
}

func pluginTitle(plugin string) string {
	l, err := library()
	if err != nil {
		return plugin // Resolve returns the error
	}
	layer, _ := l.findPlugin(plugin)
	return layer.Title
}

// cniGroups are the API groups of CNIs.
var cniGroups = []string{"cilium.io", "crd.projectcalico.org", "k8s.ovn.org", "projectcalico.org"}

// cniGroup returns the first served API group of a CNI.
func cniGroup(groups []string) string {
	for _, group := range cniGroups {
		if slices.Contains(groups, group) {
			return group
		}
	}
	return ""
}
