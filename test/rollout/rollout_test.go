// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Nodes are enforced one after the other. Each node waits until new connections have proven
// the required flows of the node before. Probes also confirm that ports declared closed are
// closed.
func TestNodesAreEnforcedOneAfterTheOther(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.StartObservers("cp-1", "cp-2", "worker-1")
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly, field.SoakFor(3)))
	overlaps := f.WatchAPI(func(note func(string)) {
		for _, pair := range [][2]string{{"cp-1", "cp-2"}, {"cp-1", "cp-3"}, {"cp-2", "cp-3"}} {
			// The later node is read first: so each reading is at least as old as the next
			// reading.
			if b, a := field.PhaseOf(pair[1])(), field.PhaseOf(pair[0])(); strings.HasPrefix(a, "Progressing") && strings.HasPrefix(b, "Progressing") {
				note(a + " and " + b)
			}
		}
	})
	f.WaitForPhases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForCondition(v1alpha1.ConditionProgrammed, "True/AsDeclared")
	f.Expect(overlaps.StopWatching()).To(BeEmpty())
	f.Expect(field.PhaseMessage("cp-1")).To(ContainSubstring("connections that were made before the rules, and are made with the rules"))
	first := field.EnactmentOf("cp-1")
	f.Expect(first.Status.Baseline).To(HaveLen(3))
	f.Expect(first.Status.SoakTime.Sub(first.Status.StartTime.Time)).To(BeNumerically(">=", 0))
	done := meta.FindStatusCondition(first.Status.Conditions, v1alpha1.PhaseEnforced).LastTransitionTime
	f.Expect(done.Sub(first.Status.SoakTime.Time)).To(BeNumerically(">=", 3*time.Second), "the soak was shorter than declared")
	f.WaitForCondition(v1alpha1.ConditionEffective, "True/AsDeclared")
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom("cp-2", "itself", "loopback")))
}

// Failsafe ports in the environment of Felix override any configuration, and are hidden
// from the operator. A probe finds the port open, although declared closed.
func TestProbeFindsAnOpenPortThatIsDeclaredClosed(t *testing.T) {
	f := field.StartClusterWith(t, calico.ClusterOptions{ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{
		Backend: calico.NFTables, IPv6: true, Env: []string{"FELIX_FAILSAFEINBOUNDHOSTPORTS=tcp:22,tcp:6443,tcp:10250"},
	}})
	f.StartObservers("cp-2", "worker-1")
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForPhases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom(field.AllClients...)), "failsafe ports override the policy")
	f.WaitForCondition(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonProbeConnected)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionEffective)).To(ContainSubstring("10250 from worker-1: Open"))
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonProbeConnected)
}

// An observer that reached the node in the baseline, and stops reporting during the soak,
// may have been cut off by the rules.
func TestSilenceOfAnObserverRollsTheNodeBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.StartObservers("cp-1")
	silence := f.StartObserver("cp-2")
	f.StartOperator()
	touched, watchman := f.RecordTouchedNodes(), f.WatchAPIServer()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly, field.SoakFor(60), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.TimeoutSeconds = 10 }))
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.DescribeEnactments)
	silence()
	f.WaitForPhases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(Equal("No answer within 10 s from cp-2"))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.StopWatching()).To(BeEmpty())
}

// A foreign policy that acts only on enforced nodes is foreseen, and nothing is written.
// Where the verdict is overridden, the first node shows the cut and is rolled back, and no
// other node is started.
func TestCutOfEnforcedNodesIsForeseenOrRolledBack(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
	before := field.ListInventory(t)
	f.StartObservers("cp-1", "cp-2")
	f.StartOperator()
	touched, watchman := f.RecordTouchedNodes(), f.WatchAPIServer()
	// Only TCP: a policy against all protocols would cut IPv6 neighbor discovery, because
	// no failsafe port allows neighbor discovery.
	tcp := numorstring.ProtocolFromString("TCP")
	f.CreateForeignPolicy("bites", "has(cpnp.dev/enforced)", v3.Rule{Action: v3.Deny, Protocol: &tcp})
	hostile := field.ListInventory(t)
	f.Expect(hostile).NotTo(Equal(before))
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForCondition(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionVerified)).To(And(
		ContainSubstring("kubelet"), ContainSubstring("platform.bites"), ContainSubstring(v1alpha1.AnnotationAllowLockout)))
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(field.ListInventory(t)).To(Equal(hostile), "nothing was written")

	f.AnnotatePolicy(v1alpha1.AnnotationAllowLockout, ptr.To("to see what happens"))
	f.WaitForCondition(v1alpha1.ConditionVerified, "True/"+v1alpha1.ReasonOverridden)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionVerified)).To(ContainSubstring("to see what happens"))
	f.WaitForPhases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(And(MatchRegexp("10250 from cp-[12]"), ContainSubstring("Dropped now")), "any observer may notice first")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Eventually(func() []string { return field.ListInventory(t) }, field.Patience, field.Tick).ShouldNot(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolloutFailed)
	f.WaitForCondition(v1alpha1.ConditionStalled, "True/"+v1alpha1.ReasonRolloutFailed)
	f.Expect(touched()).To(Equal("cp-1"), "other nodes got an endpoint")
	f.Expect(watchman.StopWatching()).To(BeEmpty(), "the API server's port was cut")
}

// A foreign policy that is created during the soak of a node rolls the node back as well.
func TestCutDuringTheSoakRollsTheNodeBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.StartOperator()
	touched, watchman := f.RecordTouchedNodes(), f.WatchAPIServer()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly, field.SoakFor(60)))
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.DescribeEnactments)
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.CreateForeignPolicy("bites", "has(cpnp.dev/enforced)", v3.Rule{Action: v3.Deny})
	f.WaitForPhases("Reverted/RequiredFlowCut", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(ContainSubstring("platform.bites"))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.StopWatching()).To(BeEmpty(), "the API server's port was cut")
}

// A control-plane member with a source address unknown to Kubernetes is cut off. The
// verdict cannot foresee the cut, but a probe finds the cut.
func TestCutFoundByAProbeRollsTheNodeBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	sendFrom(f, "cp-2", "10.77.0.77", "fd77::77")
	f.StartObservers("cp-2")
	f.StartOperator()
	touched, watchman := f.RecordTouchedNodes(), f.WatchAPIServer()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForPhases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(ContainSubstring("10250 from cp-2"))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.StopWatching()).To(BeEmpty(), "the API server's port was cut")
}

// The kubelet's port is the port in the node's status. Where all unlisted traffic is
// denied, control-plane nodes reach the kubelet, and strangers do not.
func TestKubeletIsProtectedAtThePortThatItsNodeShows(t *testing.T) {
	const unexpected = 10350
	f := field.StartCluster(t, calico.IPTables)
	_, err := f.Cluster.Machine("cp-1").Listen(network.TCP, unexpected)
	f.Expect(err).NotTo(HaveOccurred())
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	patch := fmt.Sprintf(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}}}}`, unexpected)
	f.Expect(field.Admin.Status().Patch(t.Context(), node, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
	f.GivePods()
	f.StartObservers("cp-2")
	f.StartOperator()
	watchman := f.WatchAPIServer()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{f.AdminPeer()}
		s.Network.Unlisted = v1alpha1.UnlistedDeny
	}))
	f.WaitForPhases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	// The worker is let in for metrics, which the profile lists.
	f.WaitForReachability(unexpected, field.OnlyFrom("cp-2", "worker-1", "itself", "loopback"))
	f.Expect(watchman.StopWatching()).To(BeEmpty(), "the API server's port was cut")
}

// While the desired rules cannot be rendered, a node in flight cannot be judged, and the
// targets of its probes are unknown. Such a node is rolled back to its former rules, the
// other nodes keep their rules, and the rollout starts again once rendering works.
func TestNodeInFlightIsRolledBackWhileRenderingFails(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.SoakSeconds = ptr.To[int32](60)
		s.Network.Components = append(s.Network.Components, v1alpha1.Component{
			Name: "metrics", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: field.OtherPort}}, AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}},
		})
	})
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.DescribeEnactments)
	f.WaitForReachability(field.OtherPort, field.OnlyFrom("cp-2", "itself", "loopback"))

	t.Log("All unlisted traffic is to be denied, and the addresses of pods are unknown")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Unlisted = v1alpha1.UnlistedDeny })
	f.WaitForCondition(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonAddressesUnknown)
	f.WaitForPhases("Pending/NotVerified", "Pending/NotVerified", "Pending/NotVerified")
	f.WaitForReachability(field.OtherPort, field.OnlyFrom(field.AllClients...))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))

	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Unlisted, s.Rollout.SoakSeconds = v1alpha1.UnlistedPass, ptr.To[int32](0)
	})
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForReachability(field.OtherPort, field.OnlyFrom("cp-2", "itself", "loopback"))
}

// A peer that dies during the soak of a node may have died because of the rules: the node
// is rolled back. The same generation is not tried again, but the next generation is.
func TestDeathOfAPeerDuringTheSoakRollsTheNodeBack(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	stop := f.StartOperator()
	touched, watchman := f.RecordTouchedNodes(), f.WatchAPIServer()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly, field.SoakFor(60)))
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.DescribeEnactments)
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-2", corev1.ConditionUnknown)).To(Succeed())
	f.WaitForPhases("Reverted/NodeNotReady", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(ContainSubstring("cp-2"))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.StopWatching()).To(BeEmpty(), "the API server's port was cut")

	t.Log("the peer is well again, and the operator was restarted: the generation is not tried again")
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-2", corev1.ConditionTrue)).To(Succeed())
	stop()
	f.StartOperator()
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolloutFailed)
	f.Consistently(field.PhaseOf("cp-1"), "2s", field.Tick).Should(Equal("Reverted/NodeNotReady"))
	f.UpdatePolicy(field.SoakFor(0))
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.RemovePolicy()
}

// A single control-plane node can be protected while an administrator watches: without a
// confirmation in time, the node is rolled back.
func TestSingleControlPlaneNodeNeedsConfirmation(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	for _, node := range []string{"cp-2", "cp-3"} {
		field.DeleteNow(f, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}})
	}
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForPhases("Pending/NoQuorumToSpare")
	f.WaitForCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonNoQuorumToSpare)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionReady)).To(ContainSubstring("spec.rollout.confirm to Manual"))
	f.Expect(field.ListInventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))

	t.Log("no confirmation")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.Confirm, s.Rollout.TimeoutSeconds = v1alpha1.ConfirmManual, 10
	})
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/AwaitingConfirmation"), field.DescribeEnactments)
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("itself", "loopback"))
	f.WaitForPhases("Reverted/NotConfirmed")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))

	t.Log("confirmed, and confirmed again when the failsafe ports are scoped")
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.TimeoutSeconds, s.Network.Failsafe = 60, v1alpha1.FailsafeScope
		s.Network.Components = f.NewPolicy().Spec.Network.Components
	})
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/AwaitingConfirmation"), field.DescribeEnactments)
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("itself", "loopback"))
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom(field.AllClients...))
	confirmed := field.PhaseMessage("cp-1")
	confirmNode(f, confirmed)
	f.Eventually(func() string { return field.PhaseMessage("cp-1") }, field.Patience, field.Tick).Should(
		And(Not(Equal(confirmed)), HavePrefix("The failsafe ports are scoped to the declared peers. The node passed its probes")), field.DescribeEnactments)
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("itself", "loopback"))
	confirmNode(f, field.PhaseMessage("cp-1"))
	f.WaitForPhases("Enforced/Unproven")
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
}

// confirmNode runs the command in an enactment's message.
func confirmNode(f *field.Field, told string) {
	f.T.Helper()
	arguments := strings.Fields(told[strings.Index(told, "kubectl ")+len("kubectl "):])
	out, err := field.ControlPlane.Kubectl(f.T.Context(), arguments...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
}

// How many members etcd can lose decides which nodes are started.
func TestNoNodeIsStartedWhileAnotherIsNotReady(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	for _, node := range []string{"cp-4", "cp-5"} {
		object := testbed.Node(node, testbed.ControlPlaneNode(), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
			testbed.InternalIP("192.0.2."+node[3:]))
		f.Expect(testbed.CreateNode(t.Context(), field.Admin, object)).To(Succeed())
		t.Cleanup(func() { field.DeleteNow(f, object) })
	}
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-5", corev1.ConditionFalse)).To(Succeed())
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly, field.SoakFor(5), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.MaxUnavailable = 16 }))
	waiting := "Pending/NodeNotReady"
	f.WaitForPhases(waiting, waiting, waiting, waiting, waiting)
	f.Expect(field.PhaseMessage("cp-1")).To(ContainSubstring("cp-5"))
	f.Expect(field.ListInventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))

	t.Log("the node is ready: of five members, etcd can lose two")
	most := 0
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-5", corev1.ConditionTrue)).To(Succeed())
	f.Eventually(func() string {
		list := &v1alpha1.ControlPlaneNodeEnactmentList{}
		f.Expect(field.Admin.List(t.Context(), list)).To(Succeed())
		counts := rollout.CountPhases(list.Items)
		most = max(most, int(*counts.Progressing))
		return fmt.Sprint(*counts.Enforced)
	}, "120s", field.Tick).Should(Equal("5"), field.DescribeEnactments)
	f.Expect(most).To(Equal(2))
}
