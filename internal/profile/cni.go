// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// The names of data files of what has no flows.
const (
	amazon   = "amazon-vpc-cni"
	azure    = "azure-cni"
	gke      = "gke"
	azureNPM = "azure-npm"
	policies = "kube-network-policies"
	k3sOwn   = "k3s-network-policies"
)

// daemonSets are those that connect pods, or enforce NetworkPolicies, by the data
// file that tells of them. Those without a profile are among them, because where
// one of these runs no other is the whole truth.
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

// ofClouds connect pods through the network of a cloud. Calico beside one of them
// enforces policies and gives no pod an address; Cilium uses it (chaining).
var ofClouds = []string{amazon, azure, gke}

// beside connect no pods: they are a sign of no CNI.
var beside = []string{azureNPM, policies}

// reserved says whether a namespace is one that users of a cluster cannot make for
// themselves, as far as its administrators go by the names that the field has for
// its own. What runs in others tells only where none of these has anything.
func reserved(namespace string) bool {
	return strings.HasPrefix(namespace, "kube-") || strings.HasPrefix(namespace, "openshift-") || namespace == "calico-system"
}

// pluginSigns returns the signs of what connects pods or enforces NetworkPolicies.
// Flannel, which k3s has built in, may have no DaemonSet, and is then told by what
// it notes on nodes.
func pluginSigns(facts Facts) []sign {
	var own, others []sign
	for _, name := range facts.DaemonSets {
		value, known := daemonSets[name]
		s := sign{value: value, found: fmt.Sprintf("there is the DaemonSet %s", name)}
		switch {
		case known && reserved(name.Namespace):
			own = append(own, s)
		case known:
			others = append(others, s)
		}
	}
	if len(own) == 0 {
		own = others
	}
	byDaemonSet := slices.ContainsFunc(own, func(s sign) bool { return s.value == canal || s.value == flannel })
	if s, ok := flannelSign(controlPlane(facts)); ok && !byDaemonSet {
		own = append(own, s)
	}
	return sortSigns(own)
}

// flannelAnnotation is set by flannel on its nodes. It stays when flannel goes.
const flannelAnnotation = "flannel.alpha.coreos.com/backend-type"

// flannelSign returns the first node's that has flannel's annotation. Nodes
// come sorted by name.
func flannelSign(nodes []Node) (sign, bool) {
	for _, node := range nodes {
		if slices.Contains(node.Annotations, flannelAnnotation) {
			return sign{value: flannel, found: fmt.Sprintf("node %s has the annotation %s", node.Name, flannelAnnotation)}, true
		}
	}
	return sign{}, false
}

// detectCNI goes by the DaemonSets that run the CNI. API groups outlive the CNI
// that they are from, so that they prove nothing: they are only mentioned.
func detectCNI(facts Facts) Finding {
	signs := slices.DeleteFunc(pluginSigns(facts), func(s sign) bool { return slices.Contains(beside, s.value) })
	if pair, together := together(signs); together {
		return pair
	}
	if contradiction := contradicting(signs); contradiction != "" {
		return Finding{Unknown, contradiction + ": " + byHandCNI()}
	}
	if len(signs) == 0 {
		reason := "there is no DaemonSet of a CNI that is known"
		if group := cniGroup(facts.APIGroups); group != "" {
			reason += ", although the API group " + group + " is served"
		}
		return Finding{Unknown, reason + ": " + byHandCNI()}
	}
	l, err := library()
	if _, hasFlows := l.cnis[signs[0].value]; err == nil && !hasFlows {
		return Finding{Unknown, signs[0].found + ", for which there is no profile: if another one needs the same flows, " + byHandCNI()}
	}
	return Finding{signs[0].value, signs[0].found}
}

// together returns what two programs are that share the work: one connects pods,
// the other enforces policies.
func together(signs []sign) (Finding, bool) {
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
	for _, cloud := range ofClouds {
		for _, with := range []string{calico, cilium} {
			if is(with, cloud) {
				return Finding{with, fmt.Sprintf("%s, and %s: %s connects pods, %s enforces policies",
					by[with], by[cloud], titleOf(cloud), titleOf(with))}, true
			}
		}
	}
	return Finding{}, false
}

func titleOf(plugin string) string {
	l, err := library()
	if err != nil {
		return plugin // Resolve says so
	}
	layer, _ := l.plugin(plugin)
	return layer.Title
}

// cniGroups are the API groups of CNIs.
var cniGroups = []string{"cilium.io", "crd.projectcalico.org", "k8s.ovn.org", "projectcalico.org"}

// cniGroup returns the first API group of a CNI that is served.
func cniGroup(groups []string) string {
	for _, group := range cniGroups {
		if slices.Contains(groups, group) {
			return group
		}
	}
	return ""
}
