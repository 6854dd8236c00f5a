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

// followsSigns: the operator detects the kind of cluster, and follows signs as these appear
// and disappear. The status asks for a declaration where signs are missing.
func followsSigns(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes()
	for _, name := range nodes { // otherwise the operator would conclude that the control plane is elsewhere, because no node has the API server's address
		s.patchObject(&corev1.Node{ObjectMeta: metaNamed(name)}, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`)
	}
	node := &corev1.Node{ObjectMeta: metaNamed(nodes[0])}
	s.startOperator()
	s.createObjects(s.newPolicy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Profile = v1alpha1.Profile{} }))

	t.Log("without any sign")
	s.waitForUnknownProfile("no node of the control plane shows a sign of a distribution", "spec: {profile: {distribution: kubeadm}}")
	s.Expect(s.resolvedProfile()()).To(And(HaveField("Distribution", "Unknown"), HaveField("CNI", "Unknown"), HaveField("APIServerPorts", ConsistOf(apiServerPort(s)))))
	s.Eventually(s.otherWrites).ShouldNot(BeEmpty(), "only hosts wait for the profile")
	s.expectNoCalicoWrites(s.began, tick)

	t.Log("the annotation of kubeadm")
	s.patchObject(node, `{"metadata":{"annotations":{"kubeadm.alpha.kubernetes.io/cri-socket":"unix:///run"}}}`)
	s.waitForUnknownProfile("the CNI is not known: there is no DaemonSet of a CNI that is known", "spec: {profile: {cni: calico}}")
	s.Expect(s.resolvedProfile()()).To(And(HaveField("Distribution", "kubeadm"), HaveField("DistributionReason", "node "+node.Name+
		" has the annotation kubeadm.alpha.kubernetes.io/cri-socket, and 2 of 3 nodes show no sign of their own")))

	t.Log("the DaemonSet of Calico")
	s.createObjects(&corev1.Namespace{ObjectMeta: metaNamed("calico-system")})
	daemonSet := s.createDaemonSet("calico-system", "calico-node")
	s.waitForConditions(s.name, verified, programmed)
	s.Expect(s.resolvedProfile()()).To(And(HaveField("CNI", "calico"), HaveField("CNIReason", "there is the DaemonSet calico-system/calico-node")))
	s.Expect(s.otherWrites()).NotTo(BeEmpty())

	t.Log("the ConfigMap of kubeadm, in the place of the annotation")
	s.patchObject(node, `{"metadata":{"annotations":{"kubeadm.alpha.kubernetes.io/cri-socket":null}}}`)
	s.waitForConditions(s.name, verified)
	s.Eventually(s.messageOf(s.name, v1alpha1.ConditionVerified)).Should(
		ContainSubstring("the distribution is taken for kubeadm: it was detected before and is kept, although no node of the control plane shows a sign"))
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"}}
	s.createObjects(config)
	t.Cleanup(func() { _ = admin.Delete(context.Background(), config) })
	s.Eventually(s.resolvedProfile()).Should(HaveField("DistributionReason", HavePrefix("there is the ConfigMap kube-system/kubeadm-config")))

	t.Log("signs that contradict each other, and none: neither stops anything")
	other := s.createDaemonSet("kube-system", "weave-net")
	s.Eventually(s.resolvedProfile()).Should(And(HaveField("CNI", "calico"), HaveField("CNIReason", ContainSubstring("but there is the DaemonSet kube-system/weave-net"))))
	s.deleteObject(daemonSet)
	s.deleteObject(other)
	s.Eventually(s.resolvedProfile()).Should(And(HaveField("CNI", "calico"), HaveField("CNIReason", ContainSubstring("there is no DaemonSet of a CNI"))))
	s.waitForConditions(s.name, verified)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Profile.CNI = "canal" })
	s.waitForConditions(s.name, verified)
	s.Expect(s.resolvedProfile()()).To(And(HaveField("CNI", "canal"), HaveField("CNIReason", "set in spec.profile")))
	s.deleteObject(config)
	s.removePolicy(s.name)
}

// followsAPIServerPorts: the ports of the API servers follow the cluster, plus the ports
// that the policy declares.
func followsAPIServerPorts(t *testing.T) {
	s := beginStory(t)
	s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Profile.APIServerPorts = []v1alpha1.PortNumber{16443}
	}))
	ports := func() []v1alpha1.PortNumber {
		if p := s.resolvedProfile()(); p != nil {
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
	s.createObjects(slice) // a slice of a user with write access to the namespace: only the API server's own slice counts
	t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), slice)) })
	theirs := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}}
	s.patchObject(theirs, `{"ports":[{"name":"https","protocol":"TCP","port":8443}]}`)
	slicePorts := func() []int32 {
		s.Expect(admin.Get(s.ctx, client.ObjectKeyFromObject(theirs), theirs)).To(Succeed())
		return []int32{*theirs.Ports[0].Port}
	}
	s.Eventually(func() []int32 {
		s.Expect(ports()).NotTo(ContainElement(v1alpha1.PortNumber(8443)), "a foreign slice never counts")
		return slicePorts()
	}).Should(ConsistOf(int32(own)), "the API server puts its slice right")
	s.Eventually(ports).Should(ConsistOf(own, v1alpha1.PortNumber(16443)))
	s.removePolicy(s.name)
}

// leavesManagedHostsAlone: where the control plane runs elsewhere, there are no hosts to
// protect, whatever the CNI is. All other objects are written.
func leavesManagedHostsAlone(t *testing.T) {
	s := beginStory(t)
	s.createNodes()
	s.createDaemonSet("kube-system", "aws-node") // a CNI without a profile
	s.startOperator()
	s.createObjects(s.newPolicy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Profile = v1alpha1.Profile{Distribution: "managed"}
	}))
	s.waitUntilUnprotected(s.name, "NotApplicable", "the control plane does not run on nodes of this cluster", "leave out the components without pods")
	s.Eventually(s.otherWrites).ShouldNot(BeEmpty())
	s.Expect(s.resolvedProfile()()).To(And(HaveField("Distribution", "managed"), HaveField("DistributionReason", "set in spec.profile")))
	s.removePolicy(s.name)
}

// keepsAnAdminPath: a policy without a peer for administrators cannot restrict the API
// server, because administrators would be locked out. No other object is written either.
func keepsAnAdminPath(t *testing.T) {
	s := beginStory(t)
	s.createNodes()
	pool := &v3.IPPool{ObjectMeta: metaNamed("pods"), Spec: v3.IPPoolSpec{CIDR: "10.78.0.0/16"}}
	s.createObjects(pool)
	s.startOperator()
	s.createObjects(s.newPolicy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components[0] = v1alpha1.Component{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}}}
	}))
	s.waitForConditions(s.name, "Verified=False/PeerMissing", "Stalled=True/PeerMissing", "Ready=False/PeerMissing")
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionVerified)()).To(ContainSubstring("role: Admin"))
	s.expectNoCalicoWrites(s.began, tick)
	s.Expect(s.otherWrites()).To(BeEmpty())

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Peers = []v1alpha1.Peer{{Name: "admins", Role: v1alpha1.ExternalAdmin, CIDRs: []v1alpha1.CIDR{"192.0.2.0/24"}}}
	})
	s.waitForConditions(s.name, "Verified=False/LoadBalancerUnknown")
	s.expectNoCalicoWrites(s.began, tick)
	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Profile.LoadBalancer = v1alpha1.LoadBalancerNone
	})
	s.waitForConditions(s.name, verified, programmed)
	s.removePolicy(s.name)
	s.deleteObject(pool)
}

// waitForUnknownProfile waits until the policy is not verified because the profile is
// unknown.
func (s *story) waitForUnknownProfile(texts ...string) {
	s.t.Helper()
	s.waitForConditions(s.name, "Verified=False/ProfileUnknown", "Stalled=True/ProfileUnknown", "Ready=False/ProfileUnknown")
	for _, text := range texts {
		s.Eventually(s.messageOf(s.name, v1alpha1.ConditionVerified)).Should(ContainSubstring(text))
	}
}

func (s *story) resolvedProfile() func() *v1alpha1.ResolvedProfile {
	return func() *v1alpha1.ResolvedProfile { return s.getPolicy(s.name).Status.Profile }
}

// createDaemonSet creates a DaemonSet without pods, and deletes the DaemonSet when the test
// ends.
func (s *story) createDaemonSet(namespace, name string) *appsv1.DaemonSet {
	s.t.Helper()
	labels := map[string]string{"app": name}
	daemonSet := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	daemonSet.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	daemonSet.Spec.Template.Labels = labels
	daemonSet.Spec.Template.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	s.createObjects(daemonSet)
	s.t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.Background(), daemonSet)) })
	return daemonSet
}

// apiServerPort returns the port on which the API server listens.
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
