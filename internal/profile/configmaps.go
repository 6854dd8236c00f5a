// SPDX-License-Identifier: Apache-2.0

package profile

import "k8s.io/apimachinery/pkg/types"

// The ConfigMaps with facts about a cluster. Only the owner of the control plane can
// write to the namespaces of these ConfigMaps.
var (
	// kubeadmConfig is the configuration with which kubeadm created the cluster.
	kubeadmConfig = types.NamespacedName{Namespace: "kube-system", Name: "kubeadm-config"}
	// clusterInfo is kubeadm's information for machines that are about to join.
	clusterInfo = types.NamespacedName{Namespace: "kube-public", Name: "cluster-info"}
	// openshiftInstall is the configuration with which OpenShift was installed.
	openshiftInstall = types.NamespacedName{Namespace: "kube-system", Name: "cluster-config-v1"}
	// ciliumConfig is the configuration of Cilium's agents.
	ciliumConfig = types.NamespacedName{Namespace: "kube-system", Name: "cilium-config"}
)

// configMapKeys are the keys that are read from each ConfigMap.
var configMapKeys = map[types.NamespacedName][]string{
	kubeadmConfig:    {"ClusterConfiguration"},
	clusterInfo:      {"kubeconfig"},
	openshiftInstall: {"install-config"},
	ciliumConfig: {
		matchMode, enablePolicy, enableNetworkPolicy, ipam, "enable-ipv4", "enable-ipv6", "cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr",
	},
}

// configMaps are the ConfigMaps whose existence is a sign of a distribution.
var configMaps = map[types.NamespacedName]string{kubeadmConfig: kubeadm}

// ConfigMaps returns the names of the ConfigMaps with facts about a cluster, sorted.
func ConfigMaps() []types.NamespacedName { return sortedNames(configMapKeys) }

// ConfigMapKeys returns the keys that are read from a ConfigMap.
func ConfigMapKeys(name types.NamespacedName) []string { return configMapKeys[name] }
