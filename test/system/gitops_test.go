// SPDX-License-Identifier: Apache-2.0

package system

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// inEveryMode runs a story for each way in which Argo CD writes.
func inEveryMode(t *testing.T, tell func(s *story, mode argoMode)) {
	for _, mode := range argoModes {
		t.Run(strings.Fields(string(mode))[0], func(t *testing.T) { tell(begin(t), mode) })
	}
}

// inGitService has a NodePort Service in git, with these fields beside its ports.
func (s *story) inGitService(mode argoMode, fields map[string]any) argo {
	spec := map[string]any{"type": "NodePort", "ports": []any{map[string]any{"name": "main", "protocol": "TCP", "port": int64(80)}}}
	for key, value := range fields {
		spec[key] = value
	}
	return s.inGit(mode, "v1", "Service", "web", map[string]any{"story": s.name}, spec)
}

const asDeclared = "True/AsDeclared"

// A field that git declares is left alone, whichever way it is written: there is
// no fight, and the policy is not ready.
func TestServiceFieldInGitIsLeftAlone(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		node := s.nodes(1)[0]
		git := s.inGitService(mode, map[string]any{"externalTrafficPolicy": "Cluster"})
		s.Expect(git.sync(s.ctx)).To(Succeed())
		s.create(testbed.EndpointSlice(s.serviceNow("web"), testbed.Endpoint(node, "10.1.0.1", true)))
		_, rounds := git.heals()
		mark, ready := s.mark(), s.samples()
		s.create(s.onlyServices(external(corev1.ServiceExternalTrafficPolicyLocal)))
		s.operator()

		s.Eventually(s.condition(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Conflicted"))
		first := ready()
		s.quiet()
		s.Expect(ready()).To(Equal([]string{"False/Conflicted"}))
		most := 0
		if mode == replace {
			most = 1 // what was written without a trace may have been a default, and is tried once
		} else {
			s.Expect(first).NotTo(ContainElement(asDeclared))
		}
		s.Expect(len(s.written(mark, "services", "web"))).To(BeNumerically("<=", most))
		s.Expect(rounds()).To(BeNumerically("<=", most))
		s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
		s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(And(
			ContainSubstring(argoManager+" declares it as Cluster"), ContainSubstring("conflictPolicy: Override"),
			ContainSubstring("managedFieldsManagers: [cpnp.dev/services]"), ContainSubstring("RespectIgnoreDifferences=true")))

		s.delete(s.name)
		s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	})
}

// What git does not declare is only defaulted, and ours: Argo CD leaves it alone.
func TestFieldNotInGitIsOurs(t *testing.T) {
	for _, mode := range []argoMode{clientSide, serverSide} {
		t.Run(strings.Fields(string(mode))[0], func(t *testing.T) {
			s := begin(t)
			node := s.nodes(1)[0]
			git := s.inGitService(mode, nil)
			s.Expect(git.sync(s.ctx)).To(Succeed())
			s.create(testbed.EndpointSlice(s.serviceNow("web"), testbed.Endpoint(node, "10.1.0.1", true)))
			s.create(s.onlyServices(external(corev1.ServiceExternalTrafficPolicyLocal)))
			s.operator()
			s.ready(s.name)
			s.Expect(git.sync(s.ctx)).To(Succeed(), "a later commit")
			s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))
			s.quiet()
			s.Expect(s.condition(s.name, v1alpha1.ConditionReady)()).To(Equal(asDeclared))
		})
	}
}

// Where the policy overrides what git declares and Argo CD was not told to ignore
// it, there is a fight: it is told from the first round on, also at moments when the
// field is as the policy wants it, and by an operator that was started anew.
func TestOverrideFightIsContested(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		wall := &wallClock{}
		s.clock = wall
		node := s.nodes(1)[0]
		git := s.inGitService(mode, map[string]any{"externalTrafficPolicy": "Cluster"})
		s.Expect(git.sync(s.ctx)).To(Succeed())
		s.create(testbed.EndpointSlice(s.serviceNow("web"), testbed.Endpoint(node, "10.1.0.1", true)))
		mark := s.mark()
		policy := s.onlyServices(external(corev1.ServiceExternalTrafficPolicyLocal))
		policy.Spec.Services[0].ConflictPolicy = v1alpha1.ConflictOverride
		policy.Spec.Services[0].LocalPolicy = v1alpha1.LocalForce // a node without an endpoint joins later
		s.create(policy)
		stopOperator := s.operator()
		s.ready(s.name)
		s.Expect(s.get(s.name).Status.LastDrift).To(BeNil(), "that was new intent")

		stop, rounds := git.heals()
		s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Contested"))
		ready := s.samples()
		s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(And(
			ContainSubstring("externalTrafficPolicy is set to Cluster instead of Local again and again by "+argoManager),
			ContainSubstring("RespectIgnoreDifferences=true")))
		s.Eventually(rounds).Should(BeNumerically(">=", 5))
		s.Expect(s.lastDrift(s.name)()).To(And(HaveField("Field", "externalTrafficPolicy"), HaveField("Manager", argoManager)), "it is drift, and no new intent")

		stopOperator()
		s.operator()
		s.Eventually(rounds).Should(BeNumerically(">=", 7))
		stop()
		s.Eventually(s.externalTrafficPolicy("web")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal), "the last word is the operator's")
		s.quiet()
		s.Expect(ready()).To(Equal([]string{"False/Contested"}), "in every sample")
		s.Expect(len(s.written(mark, "services", "web"))).To(BeNumerically("<=", rounds()+2), "one write a round")

		wall.leap(4 * time.Hour)
		s.join("10.77.0.99") // has it look at the clock
		s.ready(s.name)
	})
}

// A node that is in git with its taints: those are all that it may have. A kubelet can say
// the same, so that it counts once git has put back its taints.
func TestTaintsInGitAreLeftAlone(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		node := s.nodes(1)[0]
		git := s.inGit(mode, "v1", "Node", node, map[string]any{"story": s.name},
			map[string]any{"taints": []any{map[string]any{"key": "theirs", "effect": "NoSchedule"}}})
		s.Eventually(func() []corev1.Taint { return s.node(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes has taken its own away")
		s.Expect(git.sync(s.ctx)).To(Succeed())
		_, rounds := git.heals()
		mark := s.mark()
		s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
		stop := s.operator()

		s.Eventually(s.condition(s.name, v1alpha1.ConditionTaintsInSync)).Should(Equal("False/Conflicted"))
		s.quiet()
		s.Expect(s.written(mark, "nodes", node)).To(HaveLen(1))
		s.Expect(rounds()).To(Equal(1))
		stop()
		s.operator() // which knows from the record that git has put back its taints
		s.quiet()
		s.Expect(s.condition(s.name, v1alpha1.ConditionTaintsInSync)()).To(Equal("False/Conflicted"))
		s.Expect(s.written(mark, "nodes", node)).To(HaveLen(1))
		s.Expect(s.taints(node)()).To(ConsistOf("theirs:NoSchedule"))
		s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(ContainSubstring(argoManager + " declares spec.taints without it"))

		// To declare it there too ends the conflict.
		taints := []any{map[string]any{"key": "theirs", "effect": "NoSchedule"}, map[string]any{"key": dedicated, "effect": "NoSchedule"}}
		git.git.Object["spec"] = map[string]any{"taints": taints}
		s.Expect(git.sync(s.ctx)).To(Succeed())
		s.ready(s.name)

		s.delete(s.name)
		s.Expect(s.taints(node)()).To(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"), "git's taints stay")
	})
}

// A tool that removes a taint again and again without declaring it is contested at
// whatever rhythm; its name is on the list that it leaves.
func TestTaintThatIsRemovedAgainAndAgainIsContested(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	mark := s.mark()
	s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.operator()
	s.ready(s.name)
	for range 5 {
		s.patch(s.node(node), "fleet-agent", `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`)
		s.Eventually(s.taints(node)).Should(ContainElement(dedicated + ":NoSchedule"))
	}
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Contested"))
	s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(And(
		ContainSubstring("is removed again and again by fleet-agent"), ContainSubstring("declare the same taint")))
	s.Expect(len(s.written(mark, "nodes", node))).To(Equal(6))
}

// gitNetworkPolicy is a NetworkPolicy in git that has the name and the labels of
// one of ours.
func (s *story) gitNetworkPolicy(mode argoMode) argo {
	return s.inGit(mode, "networking.k8s.io/v1", "NetworkPolicy", "cpnp."+s.name+".coredns",
		map[string]any{v1alpha1.LabelPolicy: s.name, v1alpha1.LabelComponent: "coredns"},
		map[string]any{
			"podSelector": map[string]any{"matchLabels": map[string]any{"k8s-app": "kube-dns"}},
			"policyTypes": []any{"Ingress"},
			"ingress":     []any{map[string]any{"ports": []any{map[string]any{"protocol": "UDP", "port": int64(5353)}}}},
		})
}

func (s *story) onlyNetwork() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.policy()
	policy.Spec.Taints, policy.Spec.Services = nil, nil
	return policy
}

// One that was there before, and is kept there, is not taken over, and does not go
// with the policy.
func TestObjectInGitIsNotTakenOver(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		s.nodes(1)
		git := s.gitNetworkPolicy(mode)
		s.Expect(git.sync(s.ctx)).To(Succeed())
		before := s.networkPolicies()
		mark, ready := s.mark(), s.samples()
		s.create(s.onlyNetwork())
		s.operator()
		s.Eventually(s.condition(s.name, v1alpha1.ConditionAccepted)).Should(Equal("False/Conflicted"))
		s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(ContainSubstring("which " + argoManager + " declares"))
		s.quiet()
		s.Expect(ready()).NotTo(ContainElement(asDeclared))
		s.Expect(s.written(mark, "networkpolicies", before[0].Name)).To(BeEmpty())
		s.delete(s.name)
		s.Expect(s.networkPolicies()).To(Equal(before))
	})
}

// One of ours that somebody takes into git is still ours, and is put right: that is
// a fight, and told.
func TestObjectTakenIntoGitIsContested(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		s.nodes(1)
		s.create(s.onlyNetwork())
		stopOperator := s.operator()
		s.ready(s.name)
		wanted := s.networkPolicyOf("coredns").Spec
		mark := s.mark()
		git := s.gitNetworkPolicy(mode)
		stop, rounds := git.heals()
		s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Contested"))
		ready := s.samples()
		s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(And(ContainSubstring("by "+argoManager), ContainSubstring("remove it there")))
		s.Eventually(rounds).Should(BeNumerically(">=", 5))
		stopOperator()
		s.operator()
		s.Eventually(rounds).Should(BeNumerically(">=", 6))
		stop()
		s.Eventually(func() networkingv1.NetworkPolicySpec { return s.networkPolicyOf("coredns").Spec }).Should(Equal(wanted))
		s.quiet()
		s.Expect(ready()).To(Equal([]string{"False/Contested"}), "in every sample")
		s.Expect(len(s.written(mark, "networkpolicies", git.git.GetName()))).To(BeNumerically("<=", rounds()+2))
	})
}

// A release that somebody else's ownership makes void is told.
func TestReleaseThatChangesNothingIsTold(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeNodePort)
	s.create(testbed.EndpointSlice(s.serviceNow("web"), testbed.Endpoint(node, "10.1.0.1", true)))
	s.create(s.onlyServices(external(corev1.ServiceExternalTrafficPolicyLocal)))
	s.operator()
	s.ready(s.name)
	s.declare("web", argoManager, "externalTrafficPolicy", "Local")
	s.delete(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.Eventually(s.events(s.name)).Should(ContainElement(And(HaveField("Reason", "StillHeld"),
		HaveField("Note", ContainSubstring("externalTrafficPolicy was released and stays Local, because "+argoManager+" holds it too")))))
}

// Whoever only takes the record away does not take away what was there before.
func TestRecordThatIsTakenAwayIsMadeAnew(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeNodePort)
	s.create(testbed.EndpointSlice(s.serviceNow("web"), testbed.Endpoint(node, "10.1.0.1", true)))
	s.create(s.onlyServices(external(corev1.ServiceExternalTrafficPolicyLocal)))
	s.operator()
	s.ready(s.name)
	record := s.serviceNow("web").Annotations[v1alpha1.AnnotationRecord]
	s.Expect(admin.Patch(s.ctx, s.serviceNow("web"), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"cpnp.dev/record":null}}}`)), client.FieldOwner("mallory"))).To(Succeed())
	s.Eventually(func() string { return s.serviceNow("web").Annotations[v1alpha1.AnnotationRecord] }).Should(Equal(record))
	s.delete(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
}
