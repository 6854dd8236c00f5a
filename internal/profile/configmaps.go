// SPDX-License-Identifier: Apache-2.0

package profile

import "k8s.io/apimachinery/pkg/types"

// The ConfigMaps that tell something about a cluster. All of them are in
// namespaces that only the owner of the control plane can write to.
var (
	// kubeadmConfig is the configuration that kubeadm made the cluster with.
	kubeadmConfig = types.NamespacedName{Namespace: "kube-system", Name: "kubeadm-config"}
	// clusterInfo is what kubeadm tells machines that are about to join.
	clusterInfo = types.NamespacedName{Namespace: "kube-public", Name: "cluster-info"}
	// openshiftInstall is the configuration that OpenShift was installed with.
	openshiftInstall = types.NamespacedName{Namespace: "kube-system", Name: "cluster-config-v1"}
	// ciliumConfig is the configuration of Cilium's agents.
	ciliumConfig = types.NamespacedName{Namespace: "kube-system", Name: "cilium-config"}
)

// configMapKeys are the keys of each ConfigMap that are looked at.
var configMapKeys = map[types.NamespacedName][]string{
	kubeadmConfig:    {"ClusterConfiguration"},
	clusterInfo:      {"kubeconfig"},
	openshiftInstall: {"install-config"},
	ciliumConfig: {
		matchMode, enablePolicy, enableNetworkPolicy, ipam, "enable-ipv4", "enable-ipv6", "cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr",
	},
}

// configMaps are those whose existence is a sign of a distribution.
var configMaps = map[types.NamespacedName]string{kubeadmConfig: kubeadm}

// ConfigMaps returns the names of the ConfigMaps that tell something about a
// cluster, sorted.
func ConfigMaps() []types.NamespacedName { return names(configMapKeys) }

// ConfigMapKeys returns the keys of a ConfigMap that are looked at.
func ConfigMapKeys(name types.NamespacedName) []string { return configMapKeys[name] }
