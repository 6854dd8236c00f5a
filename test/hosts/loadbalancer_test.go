// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Kubelets whose packets arrive with the address of a load balancer would be cut off, and
// no probe of a node would notice: nothing is written until the policy names the load
// balancer.
func TestNothingIsWrittenUntilTheLoadBalancerIsNamed(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.GivePods()
	f.GiveOthers()
	server := f.APIServerPort()
	f.AnswerAt(network.TCP, server)
	setControlPlaneEndpoint(f, field.Balancer.IPv4, server)
	f.StartQuickOperator()
	balancer := f.SendersOf(profile.RoleLoadBalancer)[0]
	stranger := field.Sender{Machine: balancer.Machine, From: field.Stranger}

	f.CreatePolicy(f.NewPolicy(restrictAPIServer(f), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Profile.LoadBalancer = v1alpha1.LoadBalancerAuto }))
	f.WaitForCondition(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonLoadBalancerUnknown)
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonLoadBalancerUnknown)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionVerified)).To(ContainSubstring(field.Balancer.IPv4.String() + "/32"))
	f.Expect(field.ListInventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.Expect(f.VerdictsOf(stranger, network.TCP, server)).To(Equal(field.Open))

	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = append(s.Network.Peers, field.NewPeer("balancer", v1alpha1.ExternalLoadBalancer, field.Balancer))
	})
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Eventually(func() [2]network.Verdict { return f.VerdictsOf(stranger, network.TCP, server) }, field.Patience, field.Tick).Should(Equal(field.Dropped))
	f.Expect(f.VerdictsOf(balancer, network.TCP, server)).To(Equal(field.Open))
}

// A control-plane node with the virtual address of the API servers reaches itself by the
// virtual address, which is then also the source. Observers try the virtual address too.
func TestHolderOfAVirtualAddressReachesItself(t *testing.T) {
	virtual := netip.MustParseAddr("10.77.0.100")
	f := field.StartCluster(t, calico.IPTables)
	f.GivePods()
	f.GiveOthers()
	server, holder := f.APIServerPort(), f.Cluster.Machine("cp-1")
	f.AnswerAt(network.TCP, server)
	_, err := holder.Output(t.Context(), "ip", "address", "add", virtual.String()+"/32", "dev", "eth0")
	f.Expect(err).NotTo(HaveOccurred())
	_, err = holder.ListenOn(network.TCP, virtual.String(), server)
	f.Expect(err).NotTo(HaveOccurred())
	setControlPlaneEndpoint(f, virtual, server)
	f.StartObservers("cp-2")
	f.StartOperator()

	f.CreatePolicy(f.NewPolicy(restrictAPIServer(f)))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	to := netip.AddrPortFrom(virtual, server)
	f.Expect(holder.Dial(network.TCP, to, network.From(virtual))).To(Equal(network.Open))
	f.Expect(f.Cluster.Machine("cp-2").Dial(network.TCP, to)).To(Equal(network.Open))
	f.Expect(f.Cluster.Machine(calico.Outsider).Dial(network.TCP, to, network.From(field.Stranger.IPv4))).To(Equal(network.Dropped))
	f.Expect(field.EnactmentOf("cp-1").Spec.Targets).To(ContainElement(v1alpha1.ProbeTarget{
		Address: virtual.String(), Port: v1alpha1.PortNumber(server), Protocol: v1alpha1.ProbeTLS,
	}))
}

func restrictAPIServer(f *field.Field) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
	return func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Failsafe, s.Network.Peers = v1alpha1.FailsafeScope, []v1alpha1.Peer{f.AdminPeer()}
		s.Network.Components = []v1alpha1.Component{{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}}}
	}
}

// setControlPlaneEndpoint writes kubeadm's configuration with the address under which
// members of the cluster reach the API servers.
func setControlPlaneEndpoint(f *field.Field, address netip.Addr, port uint16) {
	f.T.Helper()
	configMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "kubeadm-config"},
		Data:       map[string]string{"ClusterConfiguration": fmt.Sprintf("controlPlaneEndpoint: %s\n", netip.AddrPortFrom(address, port))},
	}
	f.Expect(field.Admin.Create(f.T.Context(), configMap)).To(Succeed())
	f.T.Cleanup(func() { field.DeleteNow(f, configMap) })
}
