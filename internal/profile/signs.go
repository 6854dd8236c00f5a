// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// The names of data files that signs stand for.
const (
	managed   = "managed"
	kubeadm   = "kubeadm"
	openshift = "openshift"
	talos     = "talos"
	calico    = "calico"
	canal     = "canal"
	flannel   = "flannel"
	cilium    = "cilium"
	ovn       = "ovn-kubernetes"
)

// controlPlaneLabels are on nodes of the control plane. Managed clusters show
// no such nodes.
var controlPlaneLabels = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}

// kubeletSuffixes are in the version of kubelets that a distribution builds,
// such as v1.33.1+rke2r1.
var kubeletSuffixes = map[string]string{"+rke2": "rke2", "+k3s": "k3s", "+k0s": "k0s"}

// providerPrefixes begin the provider ID of nodes that no cloud provider has
// named: the cloud controllers that k3s and RKE2 have built in (k3s issue 1049,
// rke2 issue 839), and kind, which makes clusters with kubeadm.
var providerPrefixes = map[string]string{"k3s://": "k3s", "rke2://": "rke2", "kind://": kubeadm}

// talosImage begins the name of the operating system's image of Talos, as in
// "Talos (v1.11.0)".
const talosImage = "Talos ("

// labelPrefixes begin the keys of labels that only nodes of a distribution
// have.
var labelPrefixes = map[string]string{
	"node.openshift.io/os_id": openshift,
	"eks.amazonaws.com/":      managed,
	"cloud.google.com/gke-":   managed,
	"kubernetes.azure.com/":   managed,
}

// kubeadmAnnotation was set by kubeadm up to Kubernetes 1.33. From 1.34 on it
// is no longer set, and taken away by upgrades (the feature NodeLocalCRISocket,
// CHANGELOG-1.34), which leaves kubeadm's ConfigMap.
const kubeadmAnnotation = "kubeadm.alpha.kubernetes.io/cri-socket"

// DaemonSets returns the names of the DaemonSets that Detect looks for, sorted.
func DaemonSets() []types.NamespacedName { return names(daemonSets) }

// NodeAnnotations returns the annotations of nodes that Detect looks for.
func NodeAnnotations() []string { return []string{kubeadmAnnotation, flannelAnnotation} }

func names[T any](wanted map[types.NamespacedName]T) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(wanted), func(a, b types.NamespacedName) int { return cmp.Compare(a.String(), b.String()) })
}

// nodeSigns returns the signs of distributions that a node shows, sorted.
func nodeSigns(node Node) []sign {
	var signs []sign
	add := func(value, what, text string) {
		signs = append(signs, sign{value, fmt.Sprintf("node %s has the %s %s", node.Name, what, text)})
	}
	for suffix, value := range kubeletSuffixes {
		if strings.Contains(node.KubeletVersion, suffix) {
			add(value, "kubelet version", node.KubeletVersion)
		}
	}
	for prefix, value := range providerPrefixes {
		if strings.HasPrefix(node.ProviderID, prefix) {
			add(value, "provider ID", node.ProviderID)
		}
	}
	if strings.HasPrefix(node.OSImage, talosImage) {
		add(talos, "OS image", node.OSImage)
	}
	for _, label := range slices.Sorted(maps.Keys(node.Labels)) {
		for prefix, value := range labelPrefixes {
			if strings.HasPrefix(label, prefix) {
				add(value, "label", label)
			}
		}
	}
	if slices.Contains(node.Annotations, kubeadmAnnotation) {
		add(kubeadm, "annotation", kubeadmAnnotation)
	}
	return sortSigns(signs)
}

// clusterSigns returns the signs of distributions that no node shows, sorted.
func clusterSigns(facts Facts) []sign {
	var signs []sign
	for name := range facts.ConfigMaps {
		if value, ok := configMaps[name]; ok {
			signs = append(signs, sign{value, fmt.Sprintf("there is the ConfigMap %s", name)})
		}
	}
	return sortSigns(signs)
}

// foreignCNI begins the value of a sign of a CNI that has no profile.
const foreignCNI = "no profile: "

// daemonSets are those that run a CNI. Those of a CNI without a profile are
// among them, because where one of these runs no other is the whole truth.
var daemonSets = map[types.NamespacedName]string{
	{Namespace: "calico-system", Name: "calico-node"}:             calico,
	{Namespace: "kube-system", Name: "calico-node"}:               calico,
	{Namespace: "kube-system", Name: "canal"}:                     canal,
	{Namespace: "kube-system", Name: "rke2-canal"}:                canal,
	{Namespace: "kube-flannel", Name: "kube-flannel-ds"}:          flannel,
	{Namespace: "kube-system", Name: "kube-flannel-ds"}:           flannel,
	{Namespace: "kube-system", Name: "kube-flannel"}:              flannel,
	{Namespace: "kube-system", Name: "cilium"}:                    cilium,
	{Namespace: "cilium", Name: "cilium"}:                         cilium,
	{Namespace: "cilium-system", Name: "cilium"}:                  cilium,
	{Namespace: "openshift-ovn-kubernetes", Name: "ovnkube-node"}: ovn,
	{Namespace: "ovn-kubernetes", Name: "ovnkube-node"}:           ovn,
	{Namespace: "kube-system", Name: "antrea-agent"}:              foreignCNI + "Antrea",
	{Namespace: "kube-system", Name: "aws-node"}:                  foreignCNI + "Amazon VPC CNI",
	{Namespace: "kube-system", Name: "kindnet"}:                   foreignCNI + "kindnet",
	{Namespace: "kube-system", Name: "kube-ovn-cni"}:              foreignCNI + "Kube-OVN",
	{Namespace: "kube-system", Name: "kube-router"}:               foreignCNI + "kube-router",
	{Namespace: "kube-system", Name: "weave-net"}:                 foreignCNI + "Weave Net",
	{Namespace: "openshift-sdn", Name: "sdn"}:                     foreignCNI + "OpenShift SDN",
}

func daemonSetSigns(found []types.NamespacedName) []sign {
	var signs []sign
	for _, name := range found {
		if value, ok := daemonSets[name]; ok {
			signs = append(signs, sign{value, fmt.Sprintf("there is the DaemonSet %s", name)})
		}
	}
	return sortSigns(signs)
}

// flannelAnnotation is set by flannel on its nodes. It stays when flannel goes.
const flannelAnnotation = "flannel.alpha.coreos.com/backend-type"

// flannelSign returns the first node's that has flannel's annotation. Nodes
// come sorted by name.
func flannelSign(nodes []Node) (sign, bool) {
	for _, node := range nodes {
		if slices.Contains(node.Annotations, flannelAnnotation) {
			return sign{flannel, fmt.Sprintf("node %s has the annotation %s", node.Name, flannelAnnotation)}, true
		}
	}
	return sign{}, false
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

func sortSigns(signs []sign) []sign {
	slices.SortFunc(signs, func(a, b sign) int { return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.found, b.found)) })
	return signs
}
