// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// observers runs an observer on each of the nodes, as the DaemonSet does, but
// with connections from within the node's network.
func (f *field) observers(nodes ...string) {
	f.t.Helper()
	for _, node := range nodes {
		f.observer(node)
	}
}

// observer runs one, and returns what ends it, which is also done when the test
// ends.
func (f *field) observer(node string) (stop func()) {
	f.t.Helper()
	mgr, err := operator.NewManager(cluster.Config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(probe.Setup(mgr, &probe.Observer{Name: node, Dial: f.cluster.Machine(node).DialContext})).To(Succeed())
	return f.start(mgr)
}

// phase returns the phase of a node and why it is in it.
func phase(node string) func() string {
	return func() string {
		e := enactmentOf(node)
		if e == nil {
			return "none"
		}
		is := rollout.PhaseOf(e)
		if c := meta.FindStatusCondition(e.Status.Conditions, is); c != nil {
			return is + "/" + c.Reason
		}
		return is
	}
}

func enactmentOf(node string) *v1alpha1.ControlPlaneNodeEnactment {
	e := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := admin.Get(context.Background(), client.ObjectKey{Name: rollout.Name(policyName, node)}, e); err != nil {
		return nil
	}
	return e
}

// told is what the enactment of a node says of its phase.
func told(node string) string {
	e := enactmentOf(node)
	if c := meta.FindStatusCondition(e.Status.Conditions, rollout.PhaseOf(e)); c != nil {
		return c.Message
	}
	return ""
}

func (f *field) phases(want ...string) {
	f.t.Helper()
	for i, phaseAndReason := range want {
		f.Eventually(phase(fmt.Sprintf("cp-%d", i+1)), patience, tick).Should(Equal(phaseAndReason), enactments)
	}
}

// touched returns the nodes that ever had an endpoint of ours while the test
// goes on.
func (f *field) touched() func() string {
	f.t.Helper()
	seen := map[string]bool{}
	w := f.watchOver(func(note func(string)) {
		var list v3.HostEndpointList
		if admin.List(context.Background(), &list) != nil {
			return
		}
		for _, e := range list.Items {
			if strings.HasPrefix(e.Name, "cpnp-") && !seen[e.Spec.Node] {
				seen[e.Spec.Node] = true
				note(e.Spec.Node)
			}
		}
	})
	return func() string {
		var nodes []string
		for _, note := range w.stop() {
			nodes = append(nodes, note[strings.LastIndex(note, " ")+1:])
		}
		return strings.Join(nodes, " ")
	}
}

// foreign is a policy of somebody else, in a tier before ours, that denies what
// it selects.
func (f *field) foreign(name, selector string, rules ...v3.Rule) {
	f.t.Helper()
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}
	f.Expect(client.IgnoreAlreadyExists(admin.Create(f.t.Context(), tier))).To(Succeed())
	f.t.Cleanup(func() { deleteNow(f, tier) })
	policy := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform." + name},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(1.0), Selector: selector, Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: rules,
		},
	}
	f.Expect(admin.Create(f.t.Context(), policy)).To(Succeed())
	f.t.Cleanup(func() { deleteNow(f, policy) })
}

func soak(seconds int32) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
	return func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = &seconds }
}

// annotate sets an annotation of the policy; nil takes it away.
func (f *field) annotate(key string, value *string) {
	f.t.Helper()
	text := "null"
	if value != nil {
		text = fmt.Sprintf("%q", *value)
	}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: policyName}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, text)
	f.Expect(admin.Patch(f.t.Context(), policy, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// Nodes are enforced one after the other, each only when the one before it has
// proven by new connections that what must go on does; and what is declared
// closed is found to be closed.
func TestNodesAreEnforcedOneAfterTheOther(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.observers("cp-1", "cp-2", "worker-1")
	f.operator()
	f.create(f.policy(kubeletOnly, soak(3)))
	overlaps := f.watchOver(func(note func(string)) {
		for _, pair := range [][2]string{{"cp-1", "cp-2"}, {"cp-1", "cp-3"}, {"cp-2", "cp-3"}} {
			// Later ones first: each reading is then at least as old as the next one.
			if b, a := phase(pair[1])(), phase(pair[0])(); strings.HasPrefix(a, "Progressing") && strings.HasPrefix(b, "Progressing") {
				note(a + " and " + b)
			}
		}
	})
	f.phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.reports(v1alpha1.ConditionProgrammed, "True/Programmed")
	f.Expect(overlaps.stop()).To(BeEmpty())
	f.Expect(told("cp-1")).To(ContainSubstring("connections that they made before the rules, and make with them"))
	first := enactmentOf("cp-1")
	f.Expect(first.Status.Before).To(HaveLen(3))
	f.Expect(first.Status.SoakTime.Sub(first.Status.StartTime.Time)).To(BeNumerically(">=", 0))
	done := meta.FindStatusCondition(first.Status.Conditions, v1alpha1.PhaseEnforced).LastTransitionTime
	f.Expect(done.Sub(first.Status.SoakTime.Time)).To(BeNumerically(">=", 3*time.Second), "it soaked for as long as it is to")
	f.reports(v1alpha1.ConditionEffective, "True/Effective")
	f.Expect(f.reaches(kubeletPort)).To(Equal(only("cp-2", "itself", "loopback")))
}

// Failsafe ports in the environment of Felix are stronger than any configuration,
// and nobody reads them: a probe finds that what is declared closed is open.
func TestWhatIsDeclaredClosedAndOpenIsFoundByAProbe(t *testing.T) {
	f := enterWith(t, calico.ClusterOptions{ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{
		Backend: calico.NFTables, IPv6: true, Env: []string{"FELIX_FAILSAFEINBOUNDHOSTPORTS=tcp:22,tcp:6443,tcp:10250"},
	}})
	f.observers("cp-2", "worker-1")
	f.operator()
	f.create(f.policy(kubeletOnly))
	f.phases("Enforced/Proven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(f.reaches(kubeletPort)).To(Equal(only(everybody...)), "whatever the policy says")
	f.reports(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonProbeConnected)
	f.Expect(message(v1alpha1.ConditionEffective)).To(ContainSubstring("10250 from worker-1: Open"))
	f.reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonProbeConnected)
}

// An observer that reached the node before, and is not heard of any more while it
// soaks, may have been cut off by the rules.
func TestAnObserverThatFallsSilentTakesTheNodeBack(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.observers("cp-1")
	silence := f.observer("cp-2")
	f.operator()
	touched, watchman := f.touched(), f.watchAPIServer()
	f.create(f.policy(kubeletOnly, soak(60), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.TimeoutSeconds = 10 }))
	f.Eventually(phase("cp-1"), patience, tick).Should(Equal("Progressing/Soaking"), enactments)
	silence()
	f.phases("Reverted/ObserverLost", "Aborted/OtherNodeReverted", "Aborted/OtherNodeReverted")
	f.Expect(told("cp-1")).To(Equal("No answer within 10 s from cp-2"))
	f.becomes(kubeletPort, only(everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.stop()).To(BeEmpty())
}

// A policy of somebody else that bites only once a node is enforced is foreseen,
// and nothing is written. Where somebody insists, the first node shows it, is
// taken back, and the others are never touched.
func TestWhatCutsWhenEnforcedIsForeseenOrTakenBack(t *testing.T) {
	f := enter(t, calico.NFTables)
	before := inventory(t)
	f.observers("cp-1", "cp-2")
	f.operator()
	touched, watchman := f.touched(), f.watchAPIServer()
	f.foreign("bites", "has(cpnp.dev/enforced)", v3.Rule{Action: v3.Deny})
	hostile := inventory(t)
	f.Expect(hostile).NotTo(Equal(before))
	f.create(f.policy(kubeletOnly))
	f.reports(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(message(v1alpha1.ConditionVerified)).To(And(
		ContainSubstring("kubelet"), ContainSubstring("platform.bites"), ContainSubstring(v1alpha1.AnnotationAllowLockout)))
	f.reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRequiredFlowCut)
	f.Expect(inventory(t)).To(Equal(hostile), "nothing was written")

	f.annotate(v1alpha1.AnnotationAllowLockout, ptr.To("to see what happens"))
	f.reports(v1alpha1.ConditionVerified, "True/"+v1alpha1.ReasonOverridden)
	f.Expect(message(v1alpha1.ConditionVerified)).To(ContainSubstring("to see what happens"))
	f.phases("Reverted/ProbeFailed", "Aborted/OtherNodeReverted", "Aborted/OtherNodeReverted")
	f.Expect(told("cp-1")).To(And(MatchRegexp("10250 from cp-[12]"), ContainSubstring("Dropped now")), "whoever was first to notice")
	f.becomes(kubeletPort, only(everybody...))
	f.Eventually(func() []string { return inventory(t) }, patience, tick).ShouldNot(ContainElement(HavePrefix("HostEndpoint/cpnp-")))
	f.reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolledBack)
	f.reports(v1alpha1.ConditionStalled, "True/"+v1alpha1.ReasonRolledBack)
	f.Expect(touched()).To(Equal("cp-1"), "the others were never touched")
	f.Expect(watchman.stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// A foreign policy that comes while a node soaks takes it back as well.
func TestWhatCutsDuringTheSoakTakesTheNodeBack(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.operator()
	touched, watchman := f.touched(), f.watchAPIServer()
	f.create(f.policy(kubeletOnly, soak(60)))
	f.Eventually(phase("cp-1"), patience, tick).Should(Equal("Progressing/Soaking"), enactments)
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.foreign("bites", "has(cpnp.dev/enforced)", v3.Rule{Action: v3.Deny})
	f.phases("Reverted/RequiredFlowCut", "Aborted/OtherNodeReverted", "Aborted/OtherNodeReverted")
	f.Expect(told("cp-1")).To(ContainSubstring("platform.bites"))
	f.becomes(kubeletPort, only(everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// A kubelet that listens elsewhere than the profile says is cut off where
// everything that is not listed is denied; the profile does not know it, and the
// cluster does.
func TestServiceOnAnUnexpectedPortTakesTheNodeBack(t *testing.T) {
	const unexpected = 10350
	f := enter(t, calico.IPTables)
	_, err := f.cluster.Machine("cp-1").Listen(network.TCP, unexpected)
	f.Expect(err).NotTo(HaveOccurred())
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1"}}
	patch := fmt.Sprintf(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}}}}`, unexpected)
	f.Expect(admin.Status().Patch(t.Context(), node, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
	f.givePods()
	f.observers("cp-2")
	f.operator()
	touched, watchman := f.touched(), f.watchAPIServer()
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Peers = []v1alpha1.Peer{f.admins()}
		s.Network.Unlisted = v1alpha1.UnlistedDeny
	}))
	f.phases("Reverted/ProbeFailed", "Aborted/OtherNodeReverted", "Aborted/OtherNodeReverted")
	f.Expect(told("cp-1")).To(ContainSubstring("10350 from cp-2"))
	f.becomes(kubeletPort, only(everybody...))
	f.Expect(f.sends(f.senders("ControlPlane")[0], network.TCP, unexpected)).To(Equal(open))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.stop()).To(BeEmpty(), "the API server's port is open throughout")
}

// While it can not be told what is called for, nobody can judge a node that is
// under way, or knows what must be reached: it goes back to the rules that it had,
// the others keep theirs, and the rollout begins anew when it can be told again.
func TestNodeUnderWayGoesBackWhileNothingCanBeRendered(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.operator()
	f.create(f.policy(kubeletOnly))
	f.phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.SoakSeconds = ptr.To[int32](60)
		s.Network.Components = append(s.Network.Components, v1alpha1.Component{
			Name: "metrics", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: otherPort}}, AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}},
		})
	})
	f.Eventually(phase("cp-1"), patience, tick).Should(Equal("Progressing/Soaking"), enactments)
	f.becomes(otherPort, only("cp-2", "itself", "loopback"))

	t.Log("Everything else is to be denied, and nobody knows the addresses of pods")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Unlisted = v1alpha1.UnlistedDeny })
	f.reports(v1alpha1.ConditionVerified, "False/"+v1alpha1.ReasonEmptyPeerSet)
	f.phases("Pending/NotVerified", "Pending/NotVerified", "Pending/NotVerified")
	f.becomes(otherPort, only(everybody...))
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))

	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Network.Unlisted, s.Rollout.SoakSeconds = v1alpha1.UnlistedPass, ptr.To[int32](0)
	})
	f.phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.becomes(otherPort, only("cp-2", "itself", "loopback"))
}

// A peer that dies while a node soaks may have died of it: the node is taken
// back. The same generation is not tried again, another one is.
func TestPeerThatDiesDuringTheSoakTakesTheNodeBack(t *testing.T) {
	f := enter(t, calico.IPTables)
	stop := f.operator()
	touched, watchman := f.touched(), f.watchAPIServer()
	f.create(f.policy(kubeletOnly, soak(60)))
	f.Eventually(phase("cp-1"), patience, tick).Should(Equal("Progressing/Soaking"), enactments)
	f.Expect(testbed.SetNodeReady(t.Context(), admin, "cp-2", corev1.ConditionUnknown)).To(Succeed())
	f.phases("Reverted/NodeNotReady", "Aborted/OtherNodeReverted", "Aborted/OtherNodeReverted")
	f.Expect(told("cp-1")).To(ContainSubstring("cp-2"))
	f.becomes(kubeletPort, only(everybody...))
	f.Expect(touched()).To(Equal("cp-1"))
	f.Expect(watchman.stop()).To(BeEmpty(), "the API server's port is open throughout")

	t.Log("it is well again, and the operator another one: the generation is not tried again")
	f.Expect(testbed.SetNodeReady(t.Context(), admin, "cp-2", corev1.ConditionTrue)).To(Succeed())
	stop()
	f.operator()
	f.reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRolledBack)
	f.Consistently(phase("cp-1"), "2s", tick).Should(Equal("Reverted/NodeNotReady"))
	f.update(soak(0))
	f.phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.remove()
}

// One control-plane node can be protected, if somebody watches: unless that is
// confirmed in time, it is taken back.
func TestSingleControlPlaneNodeNeedsSomebodyWhoWatches(t *testing.T) {
	f := enter(t, calico.IPTables)
	for _, node := range []string{"cp-2", "cp-3"} {
		deleteNow(f, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}})
	}
	f.operator()
	f.create(f.policy(kubeletOnly))
	f.phases("Pending/NoQuorumToSpare")
	f.reports(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonRollingOut)
	f.Expect(message(v1alpha1.ConditionReady)).To(ContainSubstring("spec.rollout.confirm to Manual"))
	f.Expect(inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))

	t.Log("nobody confirms")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.Confirm, s.Rollout.TimeoutSeconds = v1alpha1.ConfirmManual, 10
	})
	f.Eventually(phase("cp-1"), patience, tick).Should(Equal("Progressing/AwaitingConfirmation"), enactments)
	f.becomes(kubeletPort, only("itself", "loopback"))
	f.phases("Reverted/NotConfirmed")
	f.becomes(kubeletPort, only(everybody...))

	t.Log("somebody confirms")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.TimeoutSeconds = 60 })
	f.Eventually(phase("cp-1"), patience, tick).Should(Equal("Progressing/AwaitingConfirmation"), enactments)
	command := told("cp-1")
	arguments := strings.Fields(command[strings.Index(command, "kubectl ")+len("kubectl "):])
	out, err := cluster.Kubectl(t.Context(), arguments...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
	f.phases("Enforced/Unproven")
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
}

// What is started, and what is not, depends on what etcd can lose.
func TestNoNodeIsBegunWhileAnotherIsNotReady(t *testing.T) {
	f := enter(t, calico.IPTables)
	for _, node := range []string{"cp-4", "cp-5"} {
		object := testbed.Node(node, testbed.ControlPlaneNode(), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
			testbed.InternalIP("192.0.2."+node[3:]))
		f.Expect(testbed.CreateNode(t.Context(), admin, object)).To(Succeed())
		t.Cleanup(func() { deleteNow(f, object) })
	}
	f.Expect(testbed.SetNodeReady(t.Context(), admin, "cp-5", corev1.ConditionFalse)).To(Succeed())
	f.operator()
	f.create(f.policy(kubeletOnly, soak(5), func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.MaxUnavailable = 16 }))
	waiting := "Pending/NodeNotReady"
	f.phases(waiting, waiting, waiting, waiting, waiting)
	f.Expect(told("cp-1")).To(ContainSubstring("cp-5"))
	f.Expect(inventory(t)).NotTo(ContainElement(HavePrefix("HostEndpoint/cpnp-")))

	t.Log("it is ready: of five, etcd can lose two")
	most := 0
	f.Expect(testbed.SetNodeReady(t.Context(), admin, "cp-5", corev1.ConditionTrue)).To(Succeed())
	f.Eventually(func() string {
		list := &v1alpha1.ControlPlaneNodeEnactmentList{}
		f.Expect(admin.List(t.Context(), list)).To(Succeed())
		counts := rollout.Counts(list.Items)
		most = max(most, int(*counts.Progressing))
		return fmt.Sprint(*counts.Enforced)
	}, "120s", tick).Should(Equal("5"), enactments)
	f.Expect(most).To(Equal(2))
}
