// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

type edit func(*profile.Node)

func node(name string, edits ...edit) profile.Node {
	n := profile.Node{
		Name: name, KubeletVersion: "v1.37.2", OSImage: "Debian GNU/Linux 12 (bookworm)", ProviderID: "aws:///eu-central-1a/i-0",
		Labels: map[string]string{"kubernetes.io/hostname": name}, Annotations: []string{"volumes.kubernetes.io/controller-managed-attach-detach"},
	}
	for _, edit := range edits {
		edit(&n)
	}
	return n
}

func kubelet(version string) edit { return func(n *profile.Node) { n.KubeletVersion = version } }
func image(name string) edit      { return func(n *profile.Node) { n.OSImage = name } }
func provider(id string) edit     { return func(n *profile.Node) { n.ProviderID = id } }
func label(key string) edit       { return func(n *profile.Node) { n.Labels[key] = "" } }
func value(key, text string) edit { return func(n *profile.Node) { n.Labels[key] = text } }
func annotation(key string) edit {
	return func(n *profile.Node) { n.Annotations = append(n.Annotations, key) }
}
func address(text string) edit {
	return func(n *profile.Node) { n.Addresses = append(n.Addresses, netip.MustParseAddr(text)) }
}

func servers(texts ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, text := range texts {
		out = append(out, netip.MustParseAddrPort(text))
	}
	return out
}

func named(texts ...string) []types.NamespacedName {
	var out []types.NamespacedName
	for _, text := range texts {
		namespace, name, _ := strings.Cut(text, "/")
		out = append(out, types.NamespacedName{Namespace: namespace, Name: name})
	}
	return out
}

// present returns ConfigMaps that exist and are empty.
func present(texts ...string) map[types.NamespacedName]map[string]string {
	out := map[types.NamespacedName]map[string]string{}
	for _, name := range named(texts...) {
		out[name] = nil
	}
	return out
}

const (
	kubeadmAnnotation = "kubeadm.alpha.kubernetes.io/cri-socket"
	flannelAnnotation = "flannel.alpha.coreos.com/backend-type"
	controlPlane      = "node-role.kubernetes.io/control-plane"
	byHand            = ": write it by hand: spec: {profile: {distribution: kubeadm}}, or one of k0s, k3s, managed, openshift, rke2 and talos in its place"
	noSign            = "no node of the control plane shows a sign of a distribution that is known" + byHand
	noneLabelled      = ", and no node is labelled as of the control plane"
	onNodes           = ". If it is on nodes after all, write it by hand: spec: {profile: {distribution: kubeadm}}, or one of k0s, k3s, managed, openshift, rke2 and talos in its place"
)

func TestTheDistributionIsDetectedBySigns(t *testing.T) {
	tests := map[string]struct {
		facts        profile.Facts
		want, reason string
	}{
		"RKE2 by its kubelets": {
			facts: profile.Facts{Nodes: []profile.Node{node("cp-1", kubelet("v1.33.1+rke2r1"))}},
			want:  "rke2", reason: "node cp-1 has the kubelet version v1.33.1+rke2r1",
		},
		"RKE2 by its kubelets and its cloud controller": {
			facts: profile.Facts{Nodes: []profile.Node{node("cp-1", kubelet("v1.33.1+rke2r1"), provider("rke2://cp-1"))}},
			want:  "rke2", reason: "node cp-1 has the kubelet version v1.33.1+rke2r1",
		},
		"k3s by its kubelets": {
			facts: profile.Facts{Nodes: []profile.Node{node("b", kubelet("v1.33.1+k3s1")), node("a", kubelet("v1.33.2+k3s1"))}},
			want:  "k3s", reason: "node a has the kubelet version v1.33.2+k3s1",
		},
		"k0s by its kubelets": {
			facts: profile.Facts{Nodes: []profile.Node{node("w", kubelet("v1.31.9+k0s"))}},
			want:  "k0s", reason: "node w has the kubelet version v1.31.9+k0s",
		},
		"Talos by its image": {
			facts: profile.Facts{Nodes: []profile.Node{node("cp-1", image("Talos (v1.11.0)"))}},
			want:  "talos", reason: "node cp-1 has the OS image Talos (v1.11.0)",
		},
		"OpenShift by a label": {
			facts: profile.Facts{Nodes: []profile.Node{node("m-0", label("node.openshift.io/os_id"), label(controlPlane))}},
			want:  "openshift", reason: "node m-0 has the label node.openshift.io/os_id",
		},
		"kubeadm by its annotation": {
			facts: profile.Facts{Nodes: []profile.Node{node("cp-1", annotation(kubeadmAnnotation))}},
			want:  "kubeadm", reason: "node cp-1 has the annotation " + kubeadmAnnotation,
		},
		"kubeadm from 1.34 on by its ConfigMap": {
			facts: profile.Facts{Nodes: []profile.Node{node("cp-1")}, ConfigMaps: present("kube-system/kubeadm-config")},
			want:  "kubeadm", reason: "there is the ConfigMap kube-system/kubeadm-config, and 1 of 1 nodes show no sign of their own",
		},
		"kind, which is kubeadm": {
			facts: profile.Facts{Nodes: []profile.Node{node("kind-control-plane", provider("kind://docker/kind/kind-control-plane"))}},
			want:  "kubeadm", reason: "node kind-control-plane has the provider ID kind://docker/kind/kind-control-plane",
		},
		"EKS": {
			facts: profile.Facts{Nodes: []profile.Node{node("ip-1", kubelet("v1.33.1-eks-1a2b3c"), label("eks.amazonaws.com/nodegroup"))}},
			want:  "managed", reason: "node ip-1 has the label eks.amazonaws.com/nodegroup" + noneLabelled,
		},
		"GKE": {
			facts: profile.Facts{Nodes: []profile.Node{node("gke-1", label("cloud.google.com/gke-nodepool"))}},
			want:  "managed", reason: "node gke-1 has the label cloud.google.com/gke-nodepool" + noneLabelled,
		},
		"AKS": {
			facts: profile.Facts{Nodes: []profile.Node{node("aks-1", label("kubernetes.azure.com/cluster"))}, APIServer: servers("20.1.2.3:443")},
			want:  "managed", reason: "no API server has an address of a node (one has 20.1.2.3:443)" + noneLabelled +
				", and node aks-1 has the label kubernetes.azure.com/cluster" + onNodes,
		},
		"Some nodes without a sign": {
			facts: profile.Facts{Nodes: []profile.Node{node("a"), node("b", annotation(kubeadmAnnotation)), node("c")}},
			want:  "kubeadm", reason: "node b has the annotation " + kubeadmAnnotation + ", and 2 of 3 nodes show no sign of their own",
		},
		"No nodes": {
			want: profile.Unknown, reason: noSign,
		},
		"No sign": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", address("10.0.0.1"))}, APIServer: servers("10.0.0.1:6443", "10.0.0.9:6443")},
			want:  profile.Unknown, reason: noSign,
		},
		"No sign, and the API server is not on a node": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", address("10.0.0.1"))}, APIServer: servers("34.1.2.3:443")},
			want:  "managed", reason: "no API server has an address of a node (one has 34.1.2.3:443)" + noneLabelled + onNodes,
		},
		"Signs that look like those of others": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.33.1-eks-1a2b3c"), image("Talosaurus"), label("cloud.google.com/region"),
				annotation("kubeadm.io/cri-socket"), provider("gce://p/z/a"))}, ConfigMaps: present("default/kubeadm-config")},
			want: profile.Unknown, reason: noSign,
		},
		"Nodes that contradict each other": {
			facts: profile.Facts{Nodes: []profile.Node{node("b", image("Talos (v1.11.0)")), node("a", kubelet("v1.33.1+rke2r1"))}},
			want:  profile.Unknown, reason: "node a has the kubelet version v1.33.1+rke2r1 (rke2), but node b has the OS image Talos (v1.11.0) (talos)" + byHand,
		},
		"A node whose kubelet outranks the annotations on the node": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.33.1+k3s1"), annotation(kubeadmAnnotation))}},
			want:  "k3s", reason: "node a has the kubelet version v1.33.1+k3s1",
		},
		"Kubelets that outrank a ConfigMap": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.33.1+k3s1"))}, ConfigMaps: present("kube-system/kubeadm-config")},
			want:  "k3s", reason: "node a has the kubelet version v1.33.1+k3s1",
		},
		"Kubelets of RKE2 with provider IDs of k3s": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.32.8+rke2r1"), provider("k3s://a"), label(controlPlane))}},
			want:  "rke2", reason: "node a has the kubelet version v1.32.8+rke2r1",
		},
		"A provider ID that contradicts a ConfigMap": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", provider("k3s://a"))}, ConfigMaps: present("kube-system/kubeadm-config")},
			want:  profile.Unknown, reason: "node a has the provider ID k3s://a (k3s), but there is the ConfigMap kube-system/kubeadm-config (kubeadm)" + byHand,
		},
		"A worker that claims to be something else": {
			facts: profile.Facts{
				Nodes:      []profile.Node{node("a", label(controlPlane)), node("w", kubelet("v1.33.1+k3s1"), image("Talos (v1)"), label("node.openshift.io/os_id"))},
				ConfigMaps: present("kube-system/kubeadm-config"),
			},
			want: "kubeadm", reason: "there is the ConfigMap kube-system/kubeadm-config, and 1 of 1 nodes show no sign of their own",
		},
		"A worker, of a control plane without labels, that claims to be something else": {
			facts: profile.Facts{
				Nodes:     []profile.Node{node("a", kubelet("v1.33.1+k0s"), address("10.0.0.1")), node("b", kubelet("v1.33.1+k3s1"), address("10.0.0.2"))},
				APIServer: servers("10.0.0.1:6443"),
			},
			want: "k0s", reason: "node a has the kubelet version v1.33.1+k0s",
		},
		"Only a worker shows a sign": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", label(controlPlane)), node("w", annotation(kubeadmAnnotation))}},
			want:  profile.Unknown, reason: noSign,
		},
		"kubeadm with machines outside Azure": {
			facts: profile.Facts{
				Nodes:      []profile.Node{node("a", label(controlPlane)), node("w", value("kubernetes.azure.com/managed", "false"))},
				ConfigMaps: present("kube-system/kubeadm-config"),
			},
			want: "kubeadm", reason: "there is the ConfigMap kube-system/kubeadm-config, and 1 of 1 nodes show no sign of their own",
		},
		"kubeadm with machines outside Azure, its API servers on another network": {
			facts: profile.Facts{
				Nodes:      []profile.Node{node("a", label(controlPlane), address("10.0.0.1")), node("w", label("kubernetes.azure.com/agentpool"))},
				ConfigMaps: present("kube-system/kubeadm-config"), APIServer: servers("172.16.0.1:6443"),
			},
			want: "kubeadm", reason: "there is the ConfigMap kube-system/kubeadm-config, and 1 of 1 nodes show no sign of their own",
		},
		"Only a machine outside Azure, and unknown addresses of the API servers": {
			facts: profile.Facts{Nodes: []profile.Node{node("w", value("kubernetes.azure.com/managed", "false"))}},
			want:  profile.Unknown, reason: noSign,
		},
		"The label of a provider on one of its own, with control-plane nodes": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", label("kubernetes.azure.com/cluster")), node("b", label(controlPlane))}},
			want:  profile.Unknown, reason: noSign,
		},
		"The label of a provider, and the API server is on the node": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", label("eks.amazonaws.com/nodegroup"), address("10.0.0.1"))}, APIServer: servers("10.0.0.1:6443")},
			want:  profile.Unknown, reason: noSign,
		},
		"HyperShift, whose workers look like OpenShift": {
			facts: profile.Facts{
				Nodes:     []profile.Node{node("w", label("node.openshift.io/os_id"), label("hypershift.openshift.io/managed"), address("10.0.0.21"))},
				APIServer: servers("172.20.0.1:6443"),
			},
			want: "managed", reason: "no API server has an address of a node (one has 172.20.0.1:6443)" + noneLabelled +
				", and node w has the label hypershift.openshift.io/managed" + onNodes,
		},
		"Red Hat OpenShift of IBM Cloud, whose workers are labelled masters": {
			facts: profile.Facts{
				Nodes: []profile.Node{node("w", label("node-role.kubernetes.io/master"), label("node.openshift.io/os_id"),
					label("ibm-cloud.kubernetes.io/worker-id"), address("10.0.0.21"))},
				APIServer: servers("172.20.0.1:2040"),
			},
			want: "managed", reason: "no API server has an address of a node (one has 172.20.0.1:2040), and node w has the label ibm-cloud.kubernetes.io/worker-id" + onNodes,
		},
		"Kamaji, whose workers join with kubeadm": {
			facts: profile.Facts{
				Nodes:     []profile.Node{node("w", annotation(kubeadmAnnotation), address("10.0.0.21"))},
				APIServer: servers("192.0.2.80:6443"), ConfigMaps: present("kube-system/kubeadm-config"),
			},
			want: "managed", reason: "no API server has an address of a node (one has 192.0.2.80:6443)" + noneLabelled + onNodes,
		},
		"k0s, whose controllers are no nodes, and k0smotron": {
			facts: profile.Facts{Nodes: []profile.Node{node("w", kubelet("v1.33.1+k0s"), address("10.0.0.21"))}, APIServer: servers("192.0.2.80:6443")},
			want:  "managed", reason: "no API server has an address of a node (one has 192.0.2.80:6443)" + noneLabelled +
				": controllers of k0s that run no kubelet are not nodes of the cluster, and only a firewall on each machine can protect these machines" + onNodes,
		},
		"k0s, whose controllers are workers too": {
			facts: profile.Facts{Nodes: []profile.Node{node("c", kubelet("v1.33.1+k0s"), label(controlPlane), address("10.0.0.11")), node("w", kubelet("v1.33.1+k0s"))},
				APIServer: servers("10.0.0.11:6443")},
			want: "k0s", reason: "node c has the kubelet version v1.33.1+k0s",
		},
		"OpenShift, compact": {
			facts: profile.Facts{Nodes: []profile.Node{node("m", label(controlPlane), label("node-role.kubernetes.io/worker"), label("node.openshift.io/os_id"), address("10.0.0.11"))},
				APIServer: servers("10.0.0.11:6443")},
			want: "openshift", reason: "node m has the label node.openshift.io/os_id",
		},
		"Talos, with an EKS hybrid label on a worker": {
			facts: profile.Facts{Nodes: []profile.Node{node("cp", label(controlPlane), image("Talos (v1.11.0)")), node("w", image("Talos (v1.11.0)"), label("eks.amazonaws.com/compute-type"))}},
			want:  "talos", reason: "node cp has the OS image Talos (v1.11.0)",
		},
		"Kubespray, which is kubeadm": {
			facts: profile.Facts{Nodes: []profile.Node{node("node1", label(controlPlane))}, ConfigMaps: present("kube-system/kubeadm-config")},
			want:  "kubeadm", reason: "there is the ConfigMap kube-system/kubeadm-config, and 1 of 1 nodes show no sign of their own",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := profile.Detect(test.facts).Distribution
			NewWithT(t).Expect(got).To(Equal(profile.Finding{Value: test.want, Reason: test.reason}))
		})
	}
}

func TestTheCNIIsDetectedBySigns(t *testing.T) {
	const byHand = ": write it by hand: spec: {profile: {cni: calico}}, or one of canal, cilium, flannel and ovn-kubernetes in its place"
	nodes := []profile.Node{node("b"), node("a")}
	flannelNodes := []profile.Node{node("b", annotation(flannelAnnotation)), node("a", annotation(flannelAnnotation))}
	tests := map[string]struct {
		facts        profile.Facts
		want, reason string
	}{
		"Calico of the Tigera operator": {
			facts: profile.Facts{Nodes: nodes, DaemonSets: named("kube-system/kube-proxy", "calico-system/calico-node"), APIGroups: []string{"apps", "projectcalico.org"}},
			want:  "calico", reason: "there is the DaemonSet calico-system/calico-node",
		},
		"Calico of the manifest": {
			facts: profile.Facts{DaemonSets: named("kube-system/calico-node")},
			want:  "calico", reason: "there is the DaemonSet kube-system/calico-node",
		},
		"Canal of the manifest": {
			facts: profile.Facts{Nodes: flannelNodes, DaemonSets: named("kube-system/canal")},
			want:  "canal", reason: "there is the DaemonSet kube-system/canal",
		},
		"Canal of RKE2": {
			facts: profile.Facts{Nodes: flannelNodes, DaemonSets: named("kube-system/rke2-canal")},
			want:  "canal", reason: "there is the DaemonSet kube-system/rke2-canal",
		},
		"flannel": {
			facts: profile.Facts{Nodes: flannelNodes, DaemonSets: named("kube-flannel/kube-flannel-ds")},
			want:  "flannel", reason: "there is the DaemonSet kube-flannel/kube-flannel-ds",
		},
		"flannel in k3s": {
			facts: profile.Facts{Nodes: flannelNodes, DaemonSets: named("kube-system/svclb-traefik")},
			want:  "flannel", reason: "node a has the annotation " + flannelAnnotation,
		},
		"Cilium, and leftovers of Calico": {
			facts: profile.Facts{Nodes: nodes, DaemonSets: named("kube-system/cilium", "kube-system/cilium-envoy"), APIGroups: []string{"crd.projectcalico.org", "cilium.io"}},
			want:  "cilium", reason: "there is the DaemonSet kube-system/cilium",
		},
		"OVN-Kubernetes of OpenShift": {
			facts: profile.Facts{DaemonSets: named("openshift-multus/multus", "openshift-ovn-kubernetes/ovnkube-node"), APIGroups: []string{"k8s.ovn.org"}},
			want:  "ovn-kubernetes", reason: "there is the DaemonSet openshift-ovn-kubernetes/ovnkube-node",
		},
		"OVN-Kubernetes on its own": {
			facts: profile.Facts{DaemonSets: named("ovn-kubernetes/ovnkube-node")},
			want:  "ovn-kubernetes", reason: "there is the DaemonSet ovn-kubernetes/ovnkube-node",
		},
		"Nothing": {
			want: profile.Unknown, reason: "there is no DaemonSet of a CNI that is known" + byHand,
		},
		"A DaemonSet of the same name in another namespace": {
			facts: profile.Facts{DaemonSets: named("shop/canal", "shop/calico-node")},
			want:  profile.Unknown, reason: "there is no DaemonSet of a CNI that is known" + byHand,
		},
		"Only an API group": {
			facts: profile.Facts{APIGroups: []string{"projectcalico.org", "cilium.io"}},
			want:  profile.Unknown, reason: "there is no DaemonSet of a CNI that is known, although the API group cilium.io is served" + byHand,
		},
		"A CNI without a profile": {
			facts: profile.Facts{DaemonSets: named("kube-system/kube-router")},
			want:  profile.Unknown, reason: "there is the DaemonSet kube-system/kube-router, for which there is no profile: if another CNI needs the same flows, " + strings.TrimPrefix(byHand, ": "),
		},
		"Two CNIs": {
			facts: profile.Facts{DaemonSets: named("kube-system/cilium", "calico-system/calico-node")},
			want:  profile.Unknown, reason: "there is the DaemonSet calico-system/calico-node (calico), but there is the DaemonSet kube-system/cilium (cilium)" + byHand,
		},
		"Calico for policies, Amazon's for packets": {
			facts: profile.Facts{DaemonSets: named("kube-system/aws-node", "calico-system/calico-node")},
			want:  "calico", reason: "there is the DaemonSet calico-system/calico-node, and there is the DaemonSet kube-system/aws-node: Amazon VPC CNI connects pods, Calico enforces policies",
		},
		"Calico for policies, Azure's for packets": {
			facts: profile.Facts{DaemonSets: named("kube-system/azure-cns", "calico-system/calico-node", "kube-system/azure-npm")},
			want:  "calico", reason: "there is the DaemonSet calico-system/calico-node, and there is the DaemonSet kube-system/azure-cns: Azure CNI connects pods, Calico enforces policies",
		},
		"Calico for policies, flannel for packets": {
			facts: profile.Facts{Nodes: flannelNodes, DaemonSets: named("kube-flannel/kube-flannel-ds", "kube-system/calico-node")},
			want:  "canal", reason: "there is the DaemonSet kube-system/calico-node, and there is the DaemonSet kube-flannel/kube-flannel-ds: flannel connects pods, Calico enforces policies",
		},
		"Cilium chained to Amazon's": {
			facts: profile.Facts{DaemonSets: named("kube-system/aws-node", "kube-system/cilium")},
			want:  "cilium", reason: "there is the DaemonSet kube-system/cilium, and there is the DaemonSet kube-system/aws-node: Amazon VPC CNI connects pods, Cilium enforces policies",
		},
		"Three": {
			facts: profile.Facts{DaemonSets: named("kube-system/aws-node", "kube-system/cilium", "kube-system/calico-node")},
			want:  profile.Unknown, reason: "there is the DaemonSet kube-system/aws-node (amazon-vpc-cni), but there is the DaemonSet kube-system/calico-node (calico)" + byHand,
		},
		"A namespace that anybody may have created": {
			facts: profile.Facts{DaemonSets: named("kube-system/canal", "cilium/cilium", "ovn-kubernetes/ovnkube-node")},
			want:  "canal", reason: "there is the DaemonSet kube-system/canal",
		},
		"A worker that claims to have flannel": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", label(controlPlane)), node("b", annotation(flannelAnnotation))}, DaemonSets: named("kube-system/calico-node")},
			want:  "calico", reason: "there is the DaemonSet kube-system/calico-node",
		},
		"A NetworkPolicy controller beside a CNI": {
			facts: profile.Facts{DaemonSets: named("kube-flannel/kube-flannel-ds", "kube-system/kube-network-policies")},
			want:  "flannel", reason: "there is the DaemonSet kube-flannel/kube-flannel-ds",
		},
		"Calico on nodes with signs of flannel": {
			facts: profile.Facts{Nodes: flannelNodes, DaemonSets: named("kube-system/calico-node")},
			want:  profile.Unknown, reason: "there is the DaemonSet kube-system/calico-node (calico), but node a has the annotation " + flannelAnnotation + " (flannel)" + byHand,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := profile.Detect(test.facts).CNI
			NewWithT(t).Expect(got).To(Equal(profile.Finding{Value: test.want, Reason: test.reason}))
		})
	}
}

func TestWhereTheAPIServersAreIsDetected(t *testing.T) {
	g := NewWithT(t)
	facts := profile.Facts{
		Nodes:     []profile.Node{node("a", address("10.0.0.1")), node("b", address("10.0.0.2"), address("fd00::2"))},
		APIServer: servers("10.0.0.9:6443", "[fd00::2]:443", "10.0.0.1:6443", "10.0.0.9:6443"),
	}
	got := profile.Detect(facts)
	g.Expect(got.APIServerPorts).To(Equal([]uint16{443, 6443}))
	g.Expect(got.Elsewhere).To(Equal(servers("10.0.0.9:6443")))

	none := profile.Detect(profile.Facts{})
	g.Expect(none.APIServerPorts).To(BeEmpty())
	g.Expect(none.Elsewhere).To(BeEmpty())
}

func TestDetectionDoesNotDependOnTheOrderOfTheFacts(t *testing.T) {
	g := NewWithT(t)
	facts := profile.Facts{
		Nodes: []profile.Node{
			node("c", kubelet("v1.33.1+k3s1"), label("eks.amazonaws.com/x"), label("cloud.google.com/gke-x"), annotation(kubeadmAnnotation)),
			node("a", kubelet("v1.33.1+rke2r1"), image("Talos (v1)")), node("b", provider("kind://x"), label("kubernetes.azure.com/x")),
		},
		DaemonSets: named("kube-system/cilium", "calico-system/calico-node", "kube-system/weave-net"),
		APIServer:  servers("10.0.0.9:6443", "10.0.0.1:443"),
	}
	want := profile.Detect(facts)
	for range 20 {
		slices.Reverse(facts.Nodes)
		slices.Reverse(facts.DaemonSets)
		slices.Reverse(facts.APIServer)
		before := slices.Clone(facts.Nodes)
		g.Expect(profile.Detect(facts)).To(Equal(want))
		g.Expect(facts.Nodes).To(Equal(before), "facts belong to the caller")
	}
}

func TestDetectedProfilesCanBeResolved(t *testing.T) {
	g := NewWithT(t)
	library := load(t)
	for _, name := range profile.DaemonSets() {
		cni := profile.Detect(profile.Facts{DaemonSets: []types.NamespacedName{name}}).CNI
		if cni.IsKnown() {
			g.Expect(library.CNINames()).To(ContainElement(cni.Value))
		} else {
			g.Expect(cni.Reason).To(Or(ContainSubstring("for which there is no profile"), ContainSubstring("there is no DaemonSet of a CNI")))
		}
	}
	kubeadm := profile.Detect(profile.Facts{ConfigMaps: present("kube-system/kubeadm-config")}).Distribution
	g.Expect(library.DistributionNames()).To(ContainElement(kubeadm.Value))
	for _, n := range []profile.Node{
		node("a", kubelet("v1+rke2r1")), node("a", kubelet("v1+k3s1")), node("a", kubelet("v1+k0s")), node("a", image("Talos (v1)")),
		node("a", label("node.openshift.io/os_id")), node("a", label("eks.amazonaws.com/x")), node("a", annotation(kubeadmAnnotation)),
		node("a", provider("kind://a")), node("a", provider("k3s://a")), node("a", provider("rke2://a")),
	} {
		distribution := profile.Detect(profile.Facts{Nodes: []profile.Node{n}}).Distribution
		g.Expect(distribution.IsKnown()).To(BeTrue(), distribution.Reason)
		g.Expect(library.DistributionNames()).To(ContainElement(distribution.Value))
	}
}

// A label that a kubelet can set does not make its node a part of the control plane: the
// node is no evidence, neither of the distribution nor of where the API servers are.
func TestLabelsOfKubeletsMakeNoControlPlane(t *testing.T) {
	g := NewWithT(t)
	worker := node("worker", label("node.kubernetes.io/microk8s-controlplane"), value("kube-vip.io/has-ip", "203.0.113.7"))
	worker.KubeletVersion = "v1.37.2+rke2r1"
	facts := profile.Facts{Nodes: []profile.Node{node("cp", label(controlPlane), annotation("kubeadm.alpha.kubernetes.io/cri-socket")), worker}}
	g.Expect(profile.Detect(facts).Distribution.Value).To(Equal("kubeadm"))
	g.Expect(profile.APIServerEndpoints(facts)).To(BeEmpty())
}

// Several nodes that show an API server's address do not make the cluster a
// hosted one: one of them may be a kubelet that wants to cause just that.
func TestAPIServerWhoseAddressSeveralNodesShowIsOnANode(t *testing.T) {
	g := NewWithT(t)
	server := netip.MustParseAddrPort("10.0.0.1:6443")
	facts := profile.Facts{Nodes: []profile.Node{node("a"), node("w")}, APIServer: []netip.AddrPort{server}}
	g.Expect(profile.Detect(facts).Distribution.Value).To(Equal("managed"))
	facts.Shared = []netip.Addr{server.Addr()}
	g.Expect(profile.Detect(facts).Distribution.Value).NotTo(Equal("managed"))
}
