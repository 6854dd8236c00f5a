// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"context"
	"net/netip"
	"net/url"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// foundOut: what kind of cluster it is is found out, and followed as signs of it come and
// go. What can not be found out is asked for.
func foundOut(t *testing.T) {
	s := begin(t)
	nodes := s.nodes()
	for _, name := range nodes { // or the control plane would be taken for one elsewhere: the API server has no node's address
		s.patch(&corev1.Node{ObjectMeta: named(name)}, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
	}
	node := &corev1.Node{ObjectMeta: named(nodes[0])}
	s.operator()
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Profile = v1alpha1.Profile{} }))

	t.Log("without any sign")
	s.unknown("no node of the control plane shows a sign of a distribution", "spec: {profile: {distribution: kubeadm}}")
	s.Expect(s.profile()()).To(And(HaveField("Distribution", "Unknown"), HaveField("CNI", "Unknown"), HaveField("APIServerPorts", ConsistOf(apiServerPort(s)))))
	s.Eventually(s.rest).ShouldNot(BeEmpty(), "only hosts wait for it")
	s.leavesCalicoAlone(s.began, tick)

	t.Log("the annotation of kubeadm")
	s.patch(node, `{"metadata":{"annotations":{"kubeadm.alpha.kubernetes.io/cri-socket":"unix:///run"}}}`)
	s.unknown("the CNI is not known: there is no DaemonSet of a CNI that is known", "spec: {profile: {cni: calico}}")
	s.Expect(s.profile()()).To(And(HaveField("Distribution", "kubeadm"), HaveField("DistributionReason", "node "+node.Name+
		" has the annotation kubeadm.alpha.kubernetes.io/cri-socket, and 2 of 3 nodes show no sign of their own")))

	t.Log("the DaemonSet of Calico")
	s.create(&corev1.Namespace{ObjectMeta: named("calico-system")})
	daemonSet := s.daemonSet("calico-system", "calico-node")
	s.says(s.name, verified, programmed)
	s.Expect(s.profile()()).To(And(HaveField("CNI", "calico"), HaveField("CNIReason", "there is the DaemonSet calico-system/calico-node")))
	s.Expect(s.rest()).NotTo(BeEmpty())

	t.Log("the ConfigMap of kubeadm, in the place of the annotation")
	s.patch(node, `{"metadata":{"annotations":{"kubeadm.alpha.kubernetes.io/cri-socket":null}}}`)
	s.says(s.name, verified)
	s.Eventually(s.message(s.name, v1alpha1.ConditionVerified)).Should(
		ContainSubstring("the distribution is taken for kubeadm: it was detected before and is kept, although no node of the control plane shows a sign"))
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"}}
	s.create(config)
	t.Cleanup(func() { _ = admin.Delete(context.Background(), config) })
	s.Eventually(s.profile()).Should(HaveField("DistributionReason", HavePrefix("there is the ConfigMap kube-system/kubeadm-config")))

	t.Log("signs that contradict each other, and none: neither stops anything")
	other := s.daemonSet("kube-system", "weave-net")
	s.Eventually(s.profile()).Should(And(HaveField("CNI", "calico"), HaveField("CNIReason", ContainSubstring("but there is the DaemonSet kube-system/weave-net"))))
	s.delete(daemonSet)
	s.delete(other)
	s.Eventually(s.profile()).Should(And(HaveField("CNI", "calico"), HaveField("CNIReason", ContainSubstring("there is no DaemonSet of a CNI"))))
	s.says(s.name, verified)
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Profile.CNI = "canal" })
	s.says(s.name, verified)
	s.Expect(s.profile()()).To(And(HaveField("CNI", "canal"), HaveField("CNIReason", "set in spec.profile")))
	s.delete(config)
	s.remove(s.name)
}

// apiServerPorts: the ports of the API servers are those of the cluster, as they change, and
// further ones that the policy gives.
func apiServerPorts(t *testing.T) {
	s := begin(t)
	s.nodes()
	s.operator()
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Profile.APIServerPorts = []v1alpha1.PortNumber{16443}
	}))
	ports := func() []v1alpha1.PortNumber {
		if p := s.profile()(); p != nil {
			return p.APIServerPorts
		}
		return nil
	}
	own := apiServerPort(s)
	s.Eventually(ports).Should(ConsistOf(own, v1alpha1.PortNumber(16443)))

	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: s.name, Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.77.0.1"}}},
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To(int32(7443))}},
	}
	s.create(slice) // of whoever may write to the namespace: only the API server's own slice counts
	t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), slice)) })
	theirs := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}}
	s.patch(theirs, `{"ports":[{"name":"https","protocol":"TCP","port":8443}]}`)
	slicePorts := func() []int32 {
		s.Expect(admin.Get(s.ctx, client.ObjectKeyFromObject(theirs), theirs)).To(Succeed())
		return []int32{*theirs.Ports[0].Port}
	}
	s.Eventually(func() []int32 {
		s.Expect(ports()).NotTo(ContainElement(v1alpha1.PortNumber(8443)), "what somebody wrote there never counts")
		return slicePorts()
	}).Should(ConsistOf(int32(own)), "the API server puts its slice right")
	s.Eventually(ports).Should(ConsistOf(own, v1alpha1.PortNumber(16443)))
	s.remove(s.name)
}

// managedCluster: where the control plane is elsewhere there are no hosts to protect,
// whatever the CNI is. The rest is written.
func managedCluster(t *testing.T) {
	s := begin(t)
	s.nodes()
	s.daemonSet("kube-system", "aws-node") // has no profile
	s.operator()
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Profile = v1alpha1.Profile{Distribution: "managed"}
	}))
	s.unprotected(s.name, "NotApplicable", "the control plane does not run on nodes of this cluster", "leave out the components without pods")
	s.Eventually(s.rest).ShouldNot(BeEmpty())
	s.Expect(s.profile()()).To(And(HaveField("Distribution", "managed"), HaveField("DistributionReason", "set in spec.profile")))
	s.remove(s.name)
}

// noAdminPath: nobody is locked out of the API server. Without a peer that
// administers the cluster it is not restricted, and nothing else is written.
func noAdminPath(t *testing.T) {
	s := begin(t)
	s.nodes()
	pool := &v3.IPPool{ObjectMeta: named("pods"), Spec: v3.IPPoolSpec{CIDR: "10.78.0.0/16"}}
	s.create(pool)
	s.operator()
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components[0] = v1alpha1.Component{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}}}
	}))
	s.says(s.name, "Verified=False/PeerMissing", "Stalled=True/PeerMissing", "Ready=False/PeerMissing")
	s.Expect(s.message(s.name, v1alpha1.ConditionVerified)()).To(ContainSubstring("role: Admin"))
	s.leavesCalicoAlone(s.began, tick)
	s.Expect(s.rest()).To(BeEmpty())

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Peers = []v1alpha1.Peer{{Name: "admins", Role: v1alpha1.ExternalAdmin, CIDRs: []v1alpha1.CIDR{"192.0.2.0/24"}}}
	})
	s.says(s.name, "Verified=False/LoadBalancerUnknown")
	s.leavesCalicoAlone(s.began, tick)
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Profile.LoadBalancer = v1alpha1.LoadBalancerNone
	})
	s.says(s.name, verified, programmed)
	s.remove(s.name)
	s.delete(pool)
}

// unknown waits until the policy is not verified, for want of a profile.
func (s *story) unknown(texts ...string) {
	s.t.Helper()
	s.says(s.name, "Verified=False/ProfileUnknown", "Stalled=True/ProfileUnknown", "Ready=False/ProfileUnknown")
	for _, text := range texts {
		s.Eventually(s.message(s.name, v1alpha1.ConditionVerified)).Should(ContainSubstring(text))
	}
}

func (s *story) profile() func() *v1alpha1.ResolvedProfile {
	return func() *v1alpha1.ResolvedProfile { return s.get(s.name).Status.Profile }
}

// daemonSet creates one that runs nothing, as long as the test lasts.
func (s *story) daemonSet(namespace, name string) *appsv1.DaemonSet {
	s.t.Helper()
	labels := map[string]string{"app": name}
	daemonSet := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	daemonSet.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	daemonSet.Spec.Template.Labels = labels
	daemonSet.Spec.Template.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	s.create(daemonSet)
	s.t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), daemonSet)) })
	return daemonSet
}

// apiServerPort is the port that the API server listens on.
func apiServerPort(s *story) v1alpha1.PortNumber {
	s.t.Helper()
	host := cluster.Config.Host
	if u, err := url.Parse(host); err == nil && u.Host != "" {
		host = u.Host
	}
	address, err := netip.ParseAddrPort(host)
	s.Expect(err).NotTo(HaveOccurred(), host)
	return v1alpha1.PortNumber(address.Port())
}
