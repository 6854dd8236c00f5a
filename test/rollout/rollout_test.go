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

// Nodes are enforced one after the other, each only when the one before it has
// proven by new connections that what must go on does; and what is declared
// closed is found to be closed.
func TestNodesAreEnforcedOneAfterTheOther(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	f.Observers("cp-1", "cp-2", "worker-1")
	f.Operator()
	f.Create(f.Policy(field.KubeletOnly, field.Soak(3)))
	overlaps := f.WatchAPI(func(note func(string)) {
		for _, pair := range [][2]string{{"cp-1", "cp-2"}, {"cp-1", "cp-3"}, {"cp-2", "cp-3"}} {
			// Later ones first: each reading is then at least as old as the next one.
			if b, a := field.Phase(pair[1])(), field.Phase(pair[0])(); strings.HasPrefix(a, "Progressing") && strings.HasPrefix(b, "Progressing") {
				note(a + " and " + b)
			}
		}
	})
	f.Phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Reports(v1alpha1.ConditionProgrammed, "True/AsDeclared")
	f.Expect(overlaps.Stop()).To(BeEmpty())
	f.Expect(field.Told("cp-1")).To(ContainSubstring("connections that were made before the rules, and are made with the rules"))
	first := field.EnactmentOf("cp-1")
	f.Expect(first.Status.Baseline).To(HaveLen(3))
	f.Expect(first.Status.SoakTime.Sub(first.Status.StartTime.Time)).To(BeNumerically(">=", 0))
	done := meta.FindStatusCondition(first.Status.Conditions, v1alpha1.PhaseEnforced).LastTransitionTime
	f.Expect(done.Sub(first.Status.SoakTime.Time)).To(BeNumerically(">=", 3*time.Second), "it soaked for as long as it is to")
	f.Reports(v1alpha1.ConditionEffective, "True/AsDeclared")
	f.Expect(f.Reaches(field.KubeletPort)).To(Equal(field.Only("cp-2", "itself", "loopback")))
}

// Failsafe ports in the environment of Felix are stronger than any configuration,
// and nobody reads them: a probe finds that what is declared closed is open.
func TestWhatIsDeclaredClosedAndOpenIsFoundByAProbe(t *testing.T) {
	f := field.EnterWith(t, calico.ClusterOptions{ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{
		Backend: calico.NFTables, IPv6: true, Env: []string{"FELIX_FAILSAFEINBOUNDHOSTPORTS=tcp:22,tcp:6443,tcp:10250"},
	}})
	f.Observers("cp-2", "worker-1")
	f.Operator()
	f.Create(f.Policy(field.KubeletOnly))
	f.Phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(f.Reaches(field.KubeletPort)).To(Equal(field.Only(field.Everybody...)), "whatever the policy says")
	f.Reports(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonProbeConnected)
	f.Expect(field.Message(v1alpha1.ConditionEffective)).To(ContainSubstring("10250 from worker-1: Open"))
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonProbeConnected)
}

// An observer that reached the node before, and is not heard of any more while it
// soaks, may have been cut off by the rules.
func TestAnObserverThatFallsSilentTakesTheNodeBack(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	f.Observers("cp-1")
	silence := f.Observer("cp-2")
	f.Operator()
	touched, watchman := f.Touched(), f.WatchAPIServer()
	f.Create(f.Policy(field.KubeletOnly, field.Soak(60), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.TimeoutSeconds = 10 }))
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.Enactments)
	silence()
	f.Phases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.Told("cp-1")).To(Equal("No answer within 10 s from cp-2"))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.Stop()).To(BeEmpty())
}

// A policy of somebody else that bites only once a node is enforced is foreseen,
// and nothing is written. Where somebody insists, the first node shows it, is
// taken back, and the others are never touched.
func TestWhatCutsWhenEnforcedIsForeseenOrTakenBack(t *testing.T) {
	f := field.Enter(t, calico.NFTables)
	before := field.Inventory(t)
	f.Observers("cp-1", "cp-2")
	f.Operator()
	touched, watchman := f.Touched(), f.WatchAPIServer()
	// Of TCP: who denies all takes IPv6 its neighbors, and no failsafe port lets these in.
	tcp := numorstring.ProtocolFromString("TCP")
	f.Foreign("bites", "has(cpnp.dev/enforced)", v3.Rule{Action: v3.Deny, Protocol: &tcp})
	hostile := field.Inventory(t)
	f.Expect(hostile).NotTo(Equal(before))
	f.Create(f.Policy(field.KubeletOnly))
	f.Reports(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(field.Message(v1alpha1.ConditionVerified)).To(And(
		ContainSubstring("kubelet"), ContainSubstring("platform.bites"), ContainSubstring(v1alpha1.AnnotationAllowLockout)))
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(field.Inventory(t)).To(Equal(hostile), "nothing was written")

	f.Annotate(v1alpha1.AnnotationAllowLockout, ptr.To("to see what happens"))
	f.Reports(v1alpha1.ConditionVerified, "True/"+v1alpha1.ReasonOverridden)
	f.Expect(field.Message(v1alpha1.ConditionVerified)).To(ContainSubstring("to see what happens"))
	f.Phases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.Told("cp-1")).To(And(MatchRegexp("10250 from cp-[12]"), ContainSubstring("Dropped now")), "whoever was first to notice")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Eventually(func() []string { return field.Inventory(t) }, field.Patience, field.Tick).ShouldNot(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolloutFailed)
	f.Reports(v1alpha1.ConditionStalled, "True/"+v1alpha1.ReasonRolloutFailed)
	f.Expect(touched()).To(Equal("cp-1"), "the others were never touched")
	f.Expect(watchman.Stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// A foreign policy that comes while a node soaks takes it back as well.
func TestWhatCutsDuringTheSoakTakesTheNodeBack(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	f.Operator()
	touched, watchman := f.Touched(), f.WatchAPIServer()
	f.Create(f.Policy(field.KubeletOnly, field.Soak(60)))
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.Enactments)
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	f.Foreign("bites", "has(cpnp.dev/enforced)", v3.Rule{Action: v3.Deny})
	f.Phases("Reverted/RequiredFlowCut", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.Told("cp-1")).To(ContainSubstring("platform.bites"))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.Stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// A member of the control plane that sends from an address which Kubernetes does not
// show is cut off. No judgement foresees it, and a probe finds out.
func TestWhatAProbeLosesTakesTheNodeBack(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	sendFrom(f, "cp-2", "10.77.0.77", "fd77::77")
	f.Observers("cp-2")
	f.Operator()
	touched, watchman := f.Touched(), f.WatchAPIServer()
	f.Create(f.Policy(field.KubeletOnly))
	f.Phases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.Told("cp-1")).To(ContainSubstring("10250 from cp-2"))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.Stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// The kubelet's port is the one that its node shows: where everything that is not
// listed is denied, it is let in there, and strangers are not.
func TestKubeletIsProtectedAtThePortThatItsNodeShows(t *testing.T) {
	const unexpected = 10350
	f := field.Enter(t, calico.IPTables)
	_, err := f.Cluster.Machine("cp-1").Listen(network.TCP, unexpected)
	f.Expect(err).NotTo(HaveOccurred())
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	patch := fmt.Sprintf(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}}}}`, unexpected)
	f.Expect(field.Admin.Status().Patch(t.Context(), node, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
	f.GivePods()
	f.Observers("cp-2")
	f.Operator()
	watchman := f.WatchAPIServer()
	f.Create(f.Policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{f.Admins()}
		s.Network.Unlisted = v1alpha1.UnlistedDeny
	}))
	f.Phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	// The worker is let in for metrics, which the profile lists.
	f.Becomes(unexpected, field.Only("cp-2", "worker-1", "itself", "loopback"))
	f.Expect(watchman.Stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// While it can not be told what is called for, nobody can judge a node that is
// under way, or knows what must be reached: it goes back to the rules that it had,
// the others keep theirs, and the rollout begins anew when it can be told again.
func TestNodeUnderWayGoesBackWhileNothingCanBeRendered(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	f.Operator()
	f.Create(f.Policy(field.KubeletOnly))
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.SoakSeconds = ptr.To[int32](60)
		s.Network.Components = append(s.Network.Components, v1alpha1.Component{
			Name: "metrics", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: field.OtherPort}}, AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}},
		})
	})
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.Enactments)
	f.Becomes(field.OtherPort, field.Only("cp-2", "itself", "loopback"))

	t.Log("Everything else is to be denied, and nobody knows the addresses of pods")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Unlisted = v1alpha1.UnlistedDeny })
	f.Reports(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonAddressesUnknown)
	f.Phases("Pending/NotVerified", "Pending/NotVerified", "Pending/NotVerified")
	f.Becomes(field.OtherPort, field.Only(field.Everybody...))
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))

	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Unlisted, s.Rollout.SoakSeconds = v1alpha1.UnlistedPass, ptr.To[int32](0)
	})
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Becomes(field.OtherPort, field.Only("cp-2", "itself", "loopback"))
}

// A peer that dies while a node soaks may have died of it: the node is taken
// back. The same generation is not tried again, another one is.
func TestPeerThatDiesDuringTheSoakTakesTheNodeBack(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	stop := f.Operator()
	touched, watchman := f.Touched(), f.WatchAPIServer()
	f.Create(f.Policy(field.KubeletOnly, field.Soak(60)))
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.Enactments)
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-2", corev1.ConditionUnknown)).To(Succeed())
	f.Phases("Reverted/NodeNotReady", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.Told("cp-1")).To(ContainSubstring("cp-2"))
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.Stop()).To(BeEmpty(), "the API server's port is open throughout")

	t.Log("it is well again, and the operator another one: the generation is not tried again")
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-2", corev1.ConditionTrue)).To(Succeed())
	stop()
	f.Operator()
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolloutFailed)
	f.Consistently(field.Phase("cp-1"), "2s", field.Tick).Should(Equal("Reverted/NodeNotReady"))
	f.Update(field.Soak(0))
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Becomes(field.KubeletPort, field.Only("cp-2", "itself", "loopback"))
	f.Remove()
}

// One control-plane node can be protected, if somebody watches: unless that is
// confirmed in time, it is taken back.
func TestSingleControlPlaneNodeNeedsSomebodyWhoWatches(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	for _, node := range []string{"cp-2", "cp-3"} {
		field.DeleteNow(f, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}})
	}
	f.Operator()
	f.Create(f.Policy(field.KubeletOnly))
	f.Phases("Pending/NoQuorumToSpare")
	f.Reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRollingOut)
	f.Expect(field.Message(v1alpha1.ConditionReady)).To(ContainSubstring("spec.rollout.confirm to Manual"))
	f.Expect(field.Inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))

	t.Log("nobody confirms")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.Confirm, s.Rollout.TimeoutSeconds = v1alpha1.ConfirmManual, 10
	})
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/AwaitingConfirmation"), field.Enactments)
	f.Becomes(field.KubeletPort, field.Only("itself", "loopback"))
	f.Phases("Reverted/NotConfirmed")
	f.Becomes(field.KubeletPort, field.Only(field.Everybody...))

	t.Log("somebody confirms, and once more when the failsafe ports are narrow")
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.TimeoutSeconds, s.Network.Failsafe = 60, v1alpha1.FailsafeScope
		s.Network.Components = f.Policy().Spec.Network.Components
	})
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/AwaitingConfirmation"), field.Enactments)
	f.Becomes(field.KubeletPort, field.Only("itself", "loopback"))
	f.Becomes(field.EtcdPort, field.Only(field.Everybody...))
	confirmed := field.Told("cp-1")
	confirm(f, confirmed)
	f.Eventually(func() string { return field.Told("cp-1") }, field.Patience, field.Tick).Should(
		And(Not(Equal(confirmed)), HavePrefix("The failsafe ports are scoped to the declared peers. The node passed its probes")), field.Enactments)
	f.Becomes(field.EtcdPort, field.Only("itself", "loopback"))
	confirm(f, field.Told("cp-1"))
	f.Phases("Enforced/Unproven")
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
}

// confirm runs the command that an enactment tells.
func confirm(f *field.Field, told string) {
	f.T.Helper()
	arguments := strings.Fields(told[strings.Index(told, "kubectl ")+len("kubectl "):])
	out, err := field.ControlPlane.Kubectl(f.T.Context(), arguments...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
}

// What is started, and what is not, depends on what etcd can lose.
func TestNoNodeIsBegunWhileAnotherIsNotReady(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	for _, node := range []string{"cp-4", "cp-5"} {
		object := testbed.Node(node, testbed.ControlPlaneNode(), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
			testbed.InternalIP("192.0.2."+node[3:]))
		f.Expect(testbed.CreateNode(t.Context(), field.Admin, object)).To(Succeed())
		t.Cleanup(func() { field.DeleteNow(f, object) })
	}
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-5", corev1.ConditionFalse)).To(Succeed())
	f.Operator()
	f.Create(f.Policy(field.KubeletOnly, field.Soak(5), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.MaxUnavailable = 16 }))
	waiting := "Pending/NodeNotReady"
	f.Phases(waiting, waiting, waiting, waiting, waiting)
	f.Expect(field.Told("cp-1")).To(ContainSubstring("cp-5"))
	f.Expect(field.Inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))

	t.Log("it is ready: of five, etcd can lose two")
	most := 0
	f.Expect(testbed.SetNodeReady(t.Context(), field.Admin, "cp-5", corev1.ConditionTrue)).To(Succeed())
	f.Eventually(func() string {
		list := &v1alpha1.ControlPlaneNodeEnactmentList{}
		f.Expect(field.Admin.List(t.Context(), list)).To(Succeed())
		counts := rollout.CountPhases(list.Items)
		most = max(most, int(*counts.Progressing))
		return fmt.Sprint(*counts.Enforced)
	}, "120s", field.Tick).Should(Equal("5"), field.Enactments)
	f.Expect(most).To(Equal(2))
}
