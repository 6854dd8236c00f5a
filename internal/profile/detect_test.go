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

// present returns ConfigMaps that exist and say nothing.
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
	byHand            = ": set the profile's distribution by hand"
)

func TestTheDistributionIsToldBySigns(t *testing.T) {
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
			want:  "managed", reason: "node ip-1 has the label eks.amazonaws.com/nodegroup",
		},
		"GKE": {
			facts: profile.Facts{Nodes: []profile.Node{node("gke-1", label("cloud.google.com/gke-nodepool"))}},
			want:  "managed", reason: "node gke-1 has the label cloud.google.com/gke-nodepool",
		},
		"AKS": {
			facts: profile.Facts{Nodes: []profile.Node{node("aks-1", label("kubernetes.azure.com/cluster"))}, APIServer: servers("20.1.2.3:443")},
			want:  "managed", reason: "node aks-1 has the label kubernetes.azure.com/cluster",
		},
		"Some nodes without a sign": {
			facts: profile.Facts{Nodes: []profile.Node{node("a"), node("b", annotation(kubeadmAnnotation)), node("c")}},
			want:  "kubeadm", reason: "node b has the annotation " + kubeadmAnnotation + ", and 2 of 3 nodes show no sign of their own",
		},
		"No nodes": {
			want: profile.Unknown, reason: "no node shows a sign of a distribution that is known" + byHand,
		},
		"No sign": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", address("10.0.0.1"))}, APIServer: servers("10.0.0.1:6443", "10.0.0.9:6443")},
			want:  profile.Unknown, reason: "no node shows a sign of a distribution that is known" + byHand,
		},
		"No sign, and the API server is elsewhere": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", address("10.0.0.1"))}, APIServer: servers("34.1.2.3:443")},
			want:  profile.Unknown, reason: "no node shows a sign of a distribution that is known, and no API server has a node's address (34.1.2.3:443 is one's)" +
				byHand + ", to managed if the control plane is not on nodes of this cluster",
		},
		"Signs that look like others": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.33.1-eks-1a2b3c"), image("Talosaurus"), label("cloud.google.com/region"),
				annotation("kubeadm.io/cri-socket"), provider("gce://p/z/a"))}, ConfigMaps: present("default/kubeadm-config")},
			want: profile.Unknown, reason: "no node shows a sign of a distribution that is known" + byHand,
		},
		"Nodes that contradict each other": {
			facts: profile.Facts{Nodes: []profile.Node{node("b", image("Talos (v1.11.0)")), node("a", kubelet("v1.33.1+rke2r1"))}},
			want:  profile.Unknown, reason: "node a has the kubelet version v1.33.1+rke2r1 (rke2), but node b has the OS image Talos (v1.11.0) (talos)" + byHand,
		},
		"A node that contradicts itself": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.33.1+k3s1"), annotation(kubeadmAnnotation))}},
			want:  profile.Unknown, reason: "node a has the kubelet version v1.33.1+k3s1 (k3s), but node a has the annotation " + kubeadmAnnotation + " (kubeadm)" + byHand,
		},
		"A cluster that contradicts its nodes": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", kubelet("v1.33.1+k3s1"))}, ConfigMaps: present("kube-system/kubeadm-config")},
			want:  profile.Unknown, reason: "node a has the kubelet version v1.33.1+k3s1 (k3s), but there is the ConfigMap kube-system/kubeadm-config (kubeadm)" + byHand,
		},
		"A managed cluster with a control-plane node": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", label("kubernetes.azure.com/cluster")), node("b", label(controlPlane))}},
			want:  profile.Unknown, reason: "node a has the label kubernetes.azure.com/cluster as in a managed cluster, but node b has the label " + controlPlane + byHand,
		},
		"A managed cluster with the API server on a node": {
			facts: profile.Facts{Nodes: []profile.Node{node("a", label("eks.amazonaws.com/nodegroup"), address("10.0.0.1"))}, APIServer: servers("10.0.0.1:6443")},
			want:  profile.Unknown, reason: "node a has the label eks.amazonaws.com/nodegroup as in a managed cluster, but the API server 10.0.0.1:6443 has an address of node a" + byHand,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := profile.Detect(test.facts).Distribution
			NewWithT(t).Expect(got).To(Equal(profile.Finding{Value: test.want, Reason: test.reason}))
		})
	}
}

func TestTheCNIIsToldBySigns(t *testing.T) {
	const byHand = ": set the profile's CNI by hand"
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
		"Cilium, and what is left of Calico": {
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
		"A DaemonSet of the same name elsewhere": {
			facts: profile.Facts{DaemonSets: named("shop/canal", "shop/calico-node")},
			want:  profile.Unknown, reason: "there is no DaemonSet of a CNI that is known" + byHand,
		},
		"Only an API group": {
			facts: profile.Facts{APIGroups: []string{"projectcalico.org", "cilium.io"}},
			want:  profile.Unknown, reason: "there is no DaemonSet of a CNI that is known, although the API group cilium.io is served" + byHand,
		},
		"A CNI without a profile": {
			facts: profile.Facts{DaemonSets: named("kube-system/kube-router")},
			want:  profile.Unknown, reason: "there is the DaemonSet kube-system/kube-router, for which there is no profile" + byHand + " to one that needs the same flows, if there is one",
		},
		"Two CNIs": {
			facts: profile.Facts{DaemonSets: named("kube-system/cilium", "calico-system/calico-node")},
			want:  profile.Unknown, reason: "there is the DaemonSet calico-system/calico-node (calico), but there is the DaemonSet kube-system/cilium (cilium)" + byHand,
		},
		"Calico for policies, another for packets": {
			facts: profile.Facts{DaemonSets: named("kube-system/aws-node", "calico-system/calico-node")},
			want:  profile.Unknown, reason: "there is the DaemonSet calico-system/calico-node (calico), but there is the DaemonSet kube-system/aws-node (Amazon VPC CNI)" + byHand,
		},
		"Calico on nodes that flannel has been on, or is": {
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

func TestWhereTheAPIServersAreIsTold(t *testing.T) {
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

func TestWhatIsFoundDoesNotDependOnTheOrderOfTheFacts(t *testing.T) {
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

func TestWhatIsFoundCanBeResolved(t *testing.T) {
	g := NewWithT(t)
	library := load(t)
	for _, name := range profile.DaemonSets() {
		cni := profile.Detect(profile.Facts{DaemonSets: []types.NamespacedName{name}}).CNI
		if cni.Known() {
			g.Expect(library.CNIs()).To(ContainElement(cni.Value))
		} else {
			g.Expect(cni.Reason).To(ContainSubstring("for which there is no profile"))
		}
	}
	kubeadm := profile.Detect(profile.Facts{ConfigMaps: present("kube-system/kubeadm-config")}).Distribution
	g.Expect(library.Distributions()).To(ContainElement(kubeadm.Value))
	for _, n := range []profile.Node{
		node("a", kubelet("v1+rke2r1")), node("a", kubelet("v1+k3s1")), node("a", kubelet("v1+k0s")), node("a", image("Talos (v1)")),
		node("a", label("node.openshift.io/os_id")), node("a", label("eks.amazonaws.com/x")), node("a", annotation(kubeadmAnnotation)),
		node("a", provider("kind://a")), node("a", provider("k3s://a")), node("a", provider("rke2://a")),
	} {
		distribution := profile.Detect(profile.Facts{Nodes: []profile.Node{n}}).Distribution
		g.Expect(distribution.Known()).To(BeTrue(), distribution.Reason)
		g.Expect(library.Distributions()).To(ContainElement(distribution.Value))
	}
}
