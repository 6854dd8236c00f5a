// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

func ciliumSettings(pairs ...string) map[types.NamespacedName]map[string]string {
	settings := map[string]string{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		settings[key] = value
	}
	return map[types.NamespacedName]map[string]string{{Namespace: "kube-system", Name: "cilium-config"}: settings}
}

func TestWhatTheCNIDoesWithNetworkPolicies(t *testing.T) {
	flannelNode := node("a", annotation(flannelAnnotation))
	k3sNode := node("a", annotation(flannelAnnotation), kubelet("v1.33.1+k3s1"), label(controlPlane))
	without := func(n *profile.Node) { n.WithoutNetworkPolicies = true }
	withoutThem := node("a", annotation(flannelAnnotation), kubelet("v1.33.1+k3s1"), label(controlPlane), without)
	for name, test := range map[string]struct {
		facts    profile.Facts
		cni      string
		enforced profile.Support
		says     string
		ignored  bool // whether ipBlocks ignore nodes
		ranges   bool // whether ranges are doubtful
	}{
		"Calico":              {facts: profile.Facts{DaemonSets: named("kube-system/calico-node")}, enforced: profile.Always},
		"Canal":               {facts: profile.Facts{DaemonSets: named("kube-system/canal")}, enforced: profile.Always},
		"flannel":             {facts: profile.Facts{DaemonSets: named("kube-flannel/kube-flannel-ds")}, enforced: profile.Never, says: "there is the DaemonSet kube-flannel/kube-flannel-ds, and flannel enforces no NetworkPolicy"},
		"flannel with Calico": {facts: profile.Facts{DaemonSets: named("kube-flannel/kube-flannel-ds", "kube-system/calico-node")}, enforced: profile.Always},
		"flannel with a NetworkPolicy controller":  {facts: profile.Facts{DaemonSets: named("kube-flannel/kube-flannel-ds", "kube-system/kube-network-policies")}, enforced: profile.Always},
		"flannel by an annotation":                 {facts: profile.Facts{Nodes: []profile.Node{flannelNode}}, enforced: profile.Never},
		"flannel set by hand":                      {cni: "flannel", enforced: profile.Never, says: "spec.profile.cni is flannel"},
		"k3s":                                      {facts: profile.Facts{Nodes: []profile.Node{k3sNode}}, enforced: profile.Always, says: "k3s has a network policy controller"},
		"k3s without its NetworkPolicy controller": {facts: profile.Facts{Nodes: []profile.Node{withoutThem}}, enforced: profile.Never},
		"k3s whose worker claims to be without it": {facts: profile.Facts{Nodes: []profile.Node{k3sNode, node("w", without)}}, enforced: profile.Always},
		"a worker of k3s":                          {facts: profile.Facts{Nodes: []profile.Node{node("cp", label(controlPlane), annotation(flannelAnnotation)), node("w", kubelet("v1+k3s1"))}}, enforced: profile.Never},
		"Cilium":                                   {facts: profile.Facts{DaemonSets: named("kube-system/cilium")}, enforced: profile.Always, ignored: true, ranges: true},
		"Cilium set by hand":                       {cni: "cilium", enforced: profile.Always, ignored: true, ranges: true},
		"Dataplane V2":                             {facts: profile.Facts{DaemonSets: named("kube-system/anetd", "kube-system/netd")}, enforced: profile.Always, ignored: true, ranges: true},
		"Cilium with CIDRs that match nodes": {
			facts: profile.Facts{DaemonSets: named("kube-system/cilium"), ConfigMaps: ciliumSettings("policy-cidr-match-mode=nodes")}, enforced: profile.Always, ranges: true,
		},
		"Cilium with CIDRs that match nodes and more": {
			facts: profile.Facts{DaemonSets: named("kube-system/cilium"), ConfigMaps: ciliumSettings("policy-cidr-match-mode=remote, nodes")}, enforced: profile.Always, ranges: true,
		},
		"Cilium with CIDRs that match other objects": {
			facts: profile.Facts{DaemonSets: named("kube-system/cilium"), ConfigMaps: ciliumSettings("policy-cidr-match-mode=nodesX")}, enforced: profile.Always, ignored: true, ranges: true,
		},
		"Cilium with an empty setting for CIDRs": {
			facts:    profile.Facts{DaemonSets: named("kube-system/cilium"), ConfigMaps: ciliumSettings("enable-policy=never")},
			enforced: profile.Never, says: "kube-system/cilium-config has enable-policy: never",
		},
		"Cilium that enforces only its own policies": {
			facts:    profile.Facts{DaemonSets: named("kube-system/cilium"), ConfigMaps: ciliumSettings("enable-k8s-networkpolicy=false")},
			enforced: profile.Never, says: "enable-k8s-networkpolicy: false",
		},
		"Leftovers of Cilium":      {facts: profile.Facts{DaemonSets: named("kube-system/calico-node"), ConfigMaps: ciliumSettings("enable-policy=never")}, enforced: profile.Always},
		"OVN-Kubernetes":           {facts: profile.Facts{DaemonSets: named("ovn-kubernetes/ovnkube-node")}, enforced: profile.Always},
		"Antrea":                   {facts: profile.Facts{DaemonSets: named("kube-system/antrea-agent")}, enforced: profile.Always},
		"kube-router":              {facts: profile.Facts{DaemonSets: named("kube-system/kube-router")}, enforced: profile.Always},
		"Weave Net":                {facts: profile.Facts{DaemonSets: named("kube-system/weave-net")}, enforced: profile.Always},
		"Amazon's":                 {facts: profile.Facts{DaemonSets: named("kube-system/aws-node")}, enforced: profile.NotKnown, says: "enableNetworkPolicy"},
		"Amazon's with Calico":     {facts: profile.Facts{DaemonSets: named("kube-system/aws-node", "calico-system/calico-node")}, enforced: profile.Always},
		"Azure's":                  {facts: profile.Facts{DaemonSets: named("kube-system/azure-cns")}, enforced: profile.Never},
		"Azure's with its manager": {facts: profile.Facts{DaemonSets: named("kube-system/azure-cns", "kube-system/azure-npm")}, enforced: profile.Always, ranges: true},
		"Azure's with Cilium":      {facts: profile.Facts{DaemonSets: named("kube-system/azure-cns", "kube-system/cilium")}, enforced: profile.Always, ignored: true, ranges: true},
		"kindnet":                  {facts: profile.Facts{DaemonSets: named("kube-system/kindnet")}, enforced: profile.NotKnown, says: "kind v0.24"},
		"GKE's":                    {facts: profile.Facts{DaemonSets: named("kube-system/netd")}, enforced: profile.Never},
		"No known CNI":             {facts: profile.Facts{DaemonSets: named("shop/cilium")}, enforced: profile.NotKnown, says: "no DaemonSet of a CNI that is known"},
		"Calico set by hand, without its DaemonSet":            {cni: "calico", enforced: profile.Always},
		"flannel set by hand, with a NetworkPolicy controller": {facts: profile.Facts{DaemonSets: named("kube-system/kube-router")}, cni: "flannel", enforced: profile.Always},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := profile.DetectEnforcement(test.facts, test.cni)
			g.Expect(got.Enforced).To(Equal(test.enforced), got.Why)
			g.Expect(got.Why).To(ContainSubstring(test.says))
			g.Expect(got.NodesIgnored != "").To(Equal(test.ignored))
			g.Expect(got.Remedy != "").To(Equal(test.ignored))
			g.Expect(got.Ranges != "").To(Equal(test.ranges), got.Ranges)
		})
	}
}

func TestSourceOfPodAddresses(t *testing.T) {
	clouds := map[string]string{"kube-system/aws-node": "Amazon VPC CNI", "kube-system/azure-cns": "Azure CNI", "kube-system/netd": "GKE's own CNI"}
	for daemonSet, title := range clouds {
		got := profile.DetectPodNetworks(profile.Facts{DaemonSets: named(daemonSet, "kube-system/calico-node")}, "calico")
		NewWithT(t).Expect(got).To(Equal(profile.PodsFrom{From: profile.FromNodeNetwork, Plugin: title}), "also where the CNI is set by hand")
	}
	for name, test := range map[string]struct {
		cni      string
		settings []string
		from     profile.Addressing
		cidrs    []string
	}{
		"Calico":         {cni: "calico", from: profile.FromIPPools},
		"Canal":          {cni: "canal", from: profile.FromPodCIDRs},
		"flannel":        {cni: "flannel", from: profile.FromPodCIDRs},
		"OVN-Kubernetes": {cni: "ovn-kubernetes", from: profile.FromElsewhere},
		"Cilium":         {cni: "cilium", from: profile.FromElsewhere},
		"Cilium, with the podCIDRs of nodes": {
			cni: "cilium", settings: []string{"ipam=kubernetes", "cluster-pool-ipv4-cidr=10.0.0.0/8"}, from: profile.FromPodCIDRs,
		},
		"Cilium, with pools": {
			cni: "cilium", settings: []string{"ipam=cluster-pool", "cluster-pool-ipv4-cidr=10.0.0.0/8 172.16.0.0/16", "cluster-pool-ipv6-cidr=fd00::/104", "enable-ipv6=true"},
			from: profile.FromElsewhere, cidrs: []string{"10.0.0.0/8", "172.16.0.0/16", "fd00::/104"},
		},
		"Cilium, with pools of one IP version": {
			cni: "cilium", settings: []string{"ipam=cluster-pool", "cluster-pool-ipv4-cidr=10.0.0.0/8", "cluster-pool-ipv6-cidr=fd00::/104", "enable-ipv6=false"},
			from: profile.FromElsewhere, cidrs: []string{"10.0.0.0/8"},
		},
		"Cilium, with a missing pool": {
			cni: "cilium", settings: []string{"ipam=cluster-pool", "cluster-pool-ipv4-cidr=10.0.0.0/8", "enable-ipv6=true"}, from: profile.FromElsewhere,
		},
		"Cilium, with the interfaces of a cloud": {cni: "cilium", settings: []string{"ipam=eni", "cluster-pool-ipv4-cidr=10.0.0.0/8"}, from: profile.FromElsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			got := profile.DetectPodNetworks(profile.Facts{ConfigMaps: ciliumSettings(test.settings...)}, test.cni)
			NewWithT(t).Expect(got.From).To(Equal(test.from))
			NewWithT(t).Expect(got.CIDRs).To(Equal(test.cidrs))
		})
	}
}

// Signs of a distribution without a profile name the distribution, and the lines for spec.profile.
func TestRelativesOfKubeadmAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		node profile.Node
		says []string
	}{
		"kOps":                 {node("i-1", label("kops.k8s.io/instancegroup"), label(controlPlane)), []string{"kOps", "{name: etcd-metrics, ports: [{protocol: TCP, port: 8081}]}"}},
		"MicroK8s":             {node("m", label("node.kubernetes.io/microk8s-controlplane")), []string{"MicroK8s", "16443"}},
		"Canonical Kubernetes": {node("c", value("k8sd.io/role", "control-plane"), label(controlPlane)), []string{"Canonical Kubernetes"}},
		"RKE1":                 {node("r", value("node-role.kubernetes.io/controlplane", "true")), []string{"RKE1", "etcd may be on nodes of its own"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := profile.Detect(profile.Facts{Nodes: []profile.Node{test.node}}).Distribution
			g.Expect(got.Value).To(Equal(profile.Unknown))
			for _, part := range append(test.says, "spec: {profile: {distribution: kubeadm}}") {
				g.Expect(got.Reason).To(ContainSubstring(part))
			}
			g.Expect(len(got.Reason)).To(BeNumerically("<", 900), "the reason must fit into a condition")
		})
	}
}
