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

// The names of data files for which there are signs.
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

// sign is one fact about the cluster, with the meaning of the fact.
type sign struct {
	// value is the name of a data file.
	value string
	// found says what was found, as the beginning of a sentence.
	found string
	// strength orders the signs of a node; set only for signs of distributions.
	strength strength
}

// strength says how reliable a sign of a node is, the strongest first: the version of
// the kubelet, the image of the system, the name that a provider once gave to the node,
// a note on the node. A provider ID cannot be changed: nodes of early RKE2 have
// provider IDs of k3s (rke2 issue 839).
type strength int

const (
	byVersion strength = iota
	byImage
	byProviderID
	byNote
)

// controlPlaneLabels are on nodes of the control plane. Most managed clusters show no such
// nodes. RKE1 writes controlplane without a hyphen. The label of MicroK8s,
// node.kubernetes.io/microk8s-controlplane, does not count: every kubelet may set the label
// on its own node.
var controlPlaneLabels = []string{
	"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/controlplane", "node-role.kubernetes.io/master",
}

// kubeletSuffixes are part of the kubelet version if a distribution builds its own
// kubelet, such as v1.33.1+rke2r1.
var kubeletSuffixes = map[string]string{"+rke2": "rke2", "+k3s": k3s, "+k0s": "k0s"}

// k3s is the name of a data file.
const k3s = "k3s"

// providerPrefixes begin the provider ID of nodes that no cloud provider has named:
// nodes with the built-in cloud controllers of k3s and RKE2 (k3s issue 1049, rke2 issue
// 839), and nodes of kind, which creates clusters with kubeadm.
var providerPrefixes = map[string]string{"k3s://": k3s, "rke2://": "rke2", "kind://": kubeadm}

// talosImage begins the name of Talos' operating system image, as in "Talos (v1.11.0)".
const talosImage = "Talos ("

// openshiftLabel is on every node of OpenShift, even if the control plane is elsewhere
// (HyperShift).
const openshiftLabel = "node.openshift.io/os_id"

// providerLabels begin the keys of labels on nodes of clusters whose provider runs the
// control plane. A self-managed cluster may have such labels on some nodes.
var providerLabels = []string{
	"eks.amazonaws.com/", "cloud.google.com/gke-", "kubernetes.azure.com/", "hypershift.openshift.io/", "ibm-cloud.kubernetes.io/",
}

// unmanagedByAzure is a label on machines outside Azure in clusters with the cloud
// provider of Azure, with the value false
// (https://cloud-provider-azure.sigs.k8s.io/topics/cross-resource-group-nodes/).
const unmanagedByAzure = "kubernetes.azure.com/managed"

// relatives are distributions without a profile, by a label of their nodes: the
// beginning of the label's key, its value if the value matters, and the differences
// from kubeadm.
var relatives = []struct{ label, value, name, mind string }{
	{
		label: "kops.k8s.io/", name: "kOps",
		mind: "etcd is on other ports there: write them under spec.network.components, etcd: ports: [{protocol: TCP, port: 4001}, " +
			"{protocol: TCP, port: 4002}, {protocol: TCP, port: 2380}, {protocol: TCP, port: 2381}], and free the last of its other " +
			"meaning: spec: {profile: {components: [{name: etcd-metrics, ports: [{protocol: TCP, port: 8081}]}]}}",
	},
	{
		label: "node.kubernetes.io/microk8s-controlplane", name: "MicroK8s",
		mind: "Its datastore is dqlite on 19001, its control plane listens on 16443, 10250, 10257, 10259 and 25000",
	},
	{
		label: "k8sd.io/role", value: "control-plane", name: "Canonical Kubernetes",
		mind: "Its daemon k8sd listens on 6400, and its datastore may be dqlite on 9000",
	},
	{
		label: "node-role.kubernetes.io/controlplane", name: "RKE1",
		mind: "etcd may be on nodes of its own: select these too",
	},
}

// kubeadmAnnotation was set by kubeadm up to Kubernetes 1.33. From 1.34 on, kubeadm no
// longer sets the annotation, and upgrades remove the annotation (the feature
// NodeLocalCRISocket, CHANGELOG-1.34). The ConfigMap of kubeadm remains as a sign.
const kubeadmAnnotation = "kubeadm.alpha.kubernetes.io/cri-socket"

// NodeAnnotations returns the annotations of nodes that Detect looks for.
func NodeAnnotations() []string { return []string{kubeadmAnnotation, flannelAnnotation} }

func sortedNames[T any](wanted map[types.NamespacedName]T) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(wanted), func(a, b types.NamespacedName) int { return cmp.Compare(a.String(), b.String()) })
}

// nodeSigns returns the signs of distributions that a node shows, sorted.
func nodeSigns(node Node) []sign {
	var signs []sign
	add := func(value string, strength strength, what, text string) {
		signs = append(signs, sign{value: value, strength: strength, found: fmt.Sprintf("node %s has the %s %s", node.Name, what, text)})
	}
	for suffix, value := range kubeletSuffixes {
		if strings.Contains(node.KubeletVersion, suffix) {
			add(value, byVersion, "kubelet version", node.KubeletVersion)
		}
	}
	if strings.HasPrefix(node.OSImage, talosImage) {
		add(talos, byImage, "OS image", node.OSImage)
	}
	for prefix, value := range providerPrefixes {
		if strings.HasPrefix(node.ProviderID, prefix) {
			add(value, byProviderID, "provider ID", node.ProviderID)
		}
	}
	if _, is := node.Labels[openshiftLabel]; is {
		add(openshift, byNote, "label", openshiftLabel)
	}
	if slices.Contains(node.Annotations, kubeadmAnnotation) {
		add(kubeadm, byNote, "annotation", kubeadmAnnotation)
	}
	return sortSigns(signs)
}

// strongestSigns returns the signs that are as strong as the strongest sign.
func strongestSigns(signs []sign) []sign {
	if len(signs) == 0 {
		return nil
	}
	best := slices.MinFunc(signs, func(a, b sign) int { return cmp.Compare(a.strength, b.strength) }).strength
	return slices.DeleteFunc(signs, func(s sign) bool { return s.strength != best })
}

// providerLabel returns the first label of a node that shows a provider.
func providerLabel(node Node) string {
	for _, label := range slices.Sorted(maps.Keys(node.Labels)) {
		if label == unmanagedByAzure && node.Labels[label] == "false" {
			continue
		}
		for _, prefix := range providerLabels {
			if strings.HasPrefix(label, prefix) {
				return label
			}
		}
	}
	return ""
}

// clusterSigns returns the signs of distributions that no node shows, sorted.
func clusterSigns(facts Facts) []sign {
	var signs []sign
	for name, value := range configMaps {
		if _, exists := facts.ConfigMaps[name]; exists {
			signs = append(signs, sign{value: value, found: fmt.Sprintf("there is the ConfigMap %s", name)})
		}
	}
	return sortSigns(signs)
}

func sortSigns(signs []sign) []sign {
	slices.SortFunc(signs, func(a, b sign) int { return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.found, b.found)) })
	return signs
}
