// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// tlsPolicy declares only TLS, for nodes with the label of the control plane.
func tlsPolicy(distribution v1alpha1.Distribution, change ...func(*v1alpha1.ControlPlaneNetworkPolicy)) *plan.Policy {
	policy := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u"},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}},
			Profile:      v1alpha1.Profile{Distribution: distribution},
			Posture:      &v1alpha1.PostureSpec{TLS: &v1alpha1.TLSPosture{}},
		},
	}
	for _, c := range change {
		c(&policy)
	}
	return &plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{policy})[0]
}

// tlsSnapshot has control-plane nodes with these addresses, and a worker.
func tlsSnapshot(port uint16, addresses ...string) state.Snapshot {
	node := func(name string, labels map[string]string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		for _, address := range addresses {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
		}
		return n
	}
	return state.Snapshot{
		Nodes: []*corev1.Node{node("cp-1", map[string]string{"node-role.kubernetes.io/control-plane": ""}), node("worker", nil)},
		Facts: profile.Facts{APIServer: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)}},
	}
}

// described returns targets as text.
func described(targets []v1alpha1.TLSTarget) []string {
	var lines []string
	for _, t := range targets {
		lines = append(lines, fmt.Sprint(t.Component, " ", t.Address, " ", t.Port, " ", t.Names))
	}
	return lines
}

func TestTLSOfEveryComponentOfTheProfileIsProbed(t *testing.T) {
	labelled := func(label string) func(*state.Snapshot) {
		return func(s *state.Snapshot) { s.Nodes[0].Labels[label] = "true" }
	}
	spec := func(change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) func(*v1alpha1.ControlPlaneNetworkPolicy) {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) { change(&p.Spec) }
	}
	local := []string{"kube-controller-manager 127.0.0.1 10257 []", "kube-scheduler 127.0.0.1 10259 []"}
	etcd := []string{"etcd 192.0.2.1 2379 [192.0.2.1]", "etcd-peer 192.0.2.1 2380 [192.0.2.1]"}
	servers := []string{"kube-apiserver 192.0.2.1 6443 [192.0.2.1]", "kubelet 192.0.2.1 10250 [192.0.2.1]"}
	tests := map[string]struct {
		distribution v1alpha1.Distribution
		change       func(*v1alpha1.ControlPlaneNetworkPolicy)
		cluster      func(*state.Snapshot)
		want         [][]string
	}{
		"kubeadm":                    {distribution: "kubeadm", want: [][]string{local, etcd, servers}},
		"k3s without etcd":           {distribution: "k3s", want: [][]string{local, servers}},
		"k3s with etcd":              {distribution: "k3s", cluster: labelled("node-role.kubernetes.io/etcd"), want: [][]string{local, etcd, servers}},
		"RKE2 with etcd":             {distribution: "rke2", cluster: labelled("node-role.kubernetes.io/etcd"), want: [][]string{local, etcd, servers}},
		"k0s with a local etcd":      {distribution: "k0s", want: [][]string{{"etcd 127.0.0.1 2379 []"}, local, etcd[1:], servers}},
		"OpenShift, on all networks": {distribution: "openshift", want: [][]string{etcd, {servers[0], servers[1], "kube-controller-manager 192.0.2.1 10257 []", "kube-scheduler 192.0.2.1 10259 []"}}},
		"some components": {
			distribution: "kubeadm",
			change: spec(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
				s.Posture.TLS.Components = []v1alpha1.PostureComponent{v1alpha1.PostureKubelet}
			}),
			want: [][]string{servers[1:]},
		},
		"an additional port": {
			distribution: "kubeadm",
			change: spec(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
				s.Posture.TLS.Components = []v1alpha1.PostureComponent{v1alpha1.PostureKubelet}
				s.Posture.TLS.AdditionalPorts = []v1alpha1.AdditionalPort{{Port: 10255, Component: v1alpha1.PostureKubelet}, {Port: 10250, Component: v1alpha1.PostureKubelet}}
			}),
			want: [][]string{servers[1:], {"kubelet 192.0.2.1 10255 [192.0.2.1]"}},
		},
		"other ports set by hand": {
			distribution: "kubeadm",
			change: spec(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
				s.Posture.TLS.Components = []v1alpha1.PostureComponent{v1alpha1.PostureScheduler}
				s.Profile.Components = []v1alpha1.ProfileComponent{{Name: "kube-scheduler", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 20259}}}}
			}),
			want: [][]string{{"kube-scheduler 127.0.0.1 20259 []"}},
		},
		"another policy for the network, whose ports count": {
			distribution: "kubeadm",
			change: spec(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
				s.Posture.TLS.Components = []v1alpha1.PostureComponent{v1alpha1.PostureEtcd, v1alpha1.PostureEtcdPeer}
				s.Network = &v1alpha1.NetworkSpec{Components: []v1alpha1.Component{{Name: "etcd", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 4001}, {Protocol: "TCP", Port: 7001}}}}}
			}),
			want: [][]string{{"etcd 192.0.2.1 4001 [192.0.2.1]", "etcd-peer 192.0.2.1 7001 [192.0.2.1]"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := tlsSnapshot(6443, "192.0.2.1")
			if test.cluster != nil {
				test.cluster(&snapshot)
			}
			change := test.change
			if change == nil {
				change = func(*v1alpha1.ControlPlaneNetworkPolicy) {}
			}
			p := plan.TLSOf(tlsPolicy(test.distribution, change), snapshot)
			g.Expect(p.Obstacle).To(BeNil())
			g.Expect(p.Nodes).To(HaveLen(1))
			g.Expect(p.Nodes[0].Node).To(Equal("cp-1"))
			var want []string
			for _, lines := range test.want {
				want = append(want, lines...)
			}
			g.Expect(described(p.Nodes[0].Targets)).To(HaveExactElements(want))
		})
	}
}

func TestAddressesFromKubeletsAreChecked(t *testing.T) {
	g := NewWithT(t)
	only := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Posture.TLS.Components = []v1alpha1.PostureComponent{v1alpha1.PostureKubelet}
	}
	snapshot := tlsSnapshot(6443, "169.254.169.254", "127.0.0.1", "224.0.0.1", "0.0.0.0", "fe80::1%eth0", "name", "192.0.2.1", "192.0.2.2", "2001:db8::1")
	p := plan.TLSOf(tlsPolicy("kubeadm", only), snapshot)
	g.Expect(described(p.Nodes[0].Targets)).To(HaveExactElements("kubelet 192.0.2.1 10250 [192.0.2.1]", "kubelet 2001:db8::1 10250 [2001:db8::1]"))
	p = plan.TLSOf(tlsPolicy("kubeadm", only), tlsSnapshot(6443, "169.254.169.254"))
	g.Expect(p.Nodes).To(BeEmpty())
	g.Expect(p.Silent).To(HaveExactElements("cp-1"))
}

func TestObstaclesToProbingTLS(t *testing.T) {
	g := NewWithT(t)
	reason := func(p plan.TLSPlan) string {
		g.Expect(p.Obstacle).NotTo(BeNil())
		g.Expect(p.Nodes).To(BeEmpty())
		return p.Obstacle.Reason
	}
	snapshot := tlsSnapshot(6443, "192.0.2.1")
	g.Expect(reason(plan.TLSOf(tlsPolicy(v1alpha1.DistributionAuto), snapshot))).To(Equal(v1alpha1.ReasonProfileUnknown))
	g.Expect(reason(plan.TLSOf(tlsPolicy("managed"), snapshot))).To(Equal(v1alpha1.ReasonNotApplicable))
	snapshot.Facts.APIServer = nil
	g.Expect(reason(plan.TLSOf(tlsPolicy("kubeadm"), snapshot))).To(Equal(v1alpha1.ReasonProfileUnknown))
	etcdAlone := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Posture.TLS.Components = []v1alpha1.PostureComponent{v1alpha1.PostureEtcd}
	}
	g.Expect(plan.TLSOf(tlsPolicy("kubeadm", etcdAlone), snapshot).Obstacle).To(BeNil(), "the port of the API server does not matter")
	byHand := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Profile.APIServerPorts = []v1alpha1.PortNumber{8443}
	}
	g.Expect(described(plan.TLSOf(tlsPolicy("kubeadm", byHand), snapshot).Nodes[0].Targets)).To(ContainElement("kube-apiserver 192.0.2.1 8443 [192.0.2.1]"))
	invalid := tlsPolicy("kubeadm")
	invalid.Invalid = errors.New("a key is not valid")
	g.Expect(reason(plan.TLSOf(invalid, snapshot))).To(Equal(v1alpha1.ReasonNotProbed))
	manyPorts := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Profile.APIServerPorts = []v1alpha1.PortNumber{8443}
		var ports []v1alpha1.Port
		for i := range v1alpha1.MaxTLSTargets {
			ports = append(ports, v1alpha1.Port{Protocol: "TCP", Port: int32(20000 + i)})
		}
		p.Spec.Profile.Components = []v1alpha1.ProfileComponent{{Name: "kube-scheduler", Ports: ports}}
	}
	g.Expect(reason(plan.TLSOf(tlsPolicy("kubeadm", manyPorts), snapshot))).To(Equal(v1alpha1.ReasonNotProbed))
	many := tlsSnapshot(6443, "192.0.2.1")
	for i := range plan.MaxTLSNodes {
		node := many.Nodes[0].DeepCopy()
		node.Name, node.UID = fmt.Sprint("cp-", i+2), types.UID(fmt.Sprint(i))
		many.Nodes = append(many.Nodes, node)
	}
	g.Expect(reason(plan.TLSOf(tlsPolicy("kubeadm"), many))).To(Equal(v1alpha1.ReasonNotProbed))
	g.Expect(plan.TLSOf(tlsPolicy("kubeadm", func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Posture = nil }), snapshot)).To(BeZero())
}
