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
		t.Run(strings.Fields(string(mode))[0], func(t *testing.T) { tell(beginStory(t), mode) })
	}
}

// inGitService declares a NodePort Service in git, with these fields beside its ports.
func (s *story) inGitService(mode argoMode, fields map[string]any) argo {
	spec := map[string]any{"type": "NodePort", "ports": []any{map[string]any{"name": "main", "protocol": "TCP", "port": int64(80)}}}
	for key, value := range fields {
		spec[key] = value
	}
	return s.inGit(mode, "v1", "Service", "web", map[string]any{"story": s.name}, spec)
}

const asDeclared = "True/AsDeclared"

// A field that git declares is left alone, in each way of writing: the operator does not
// contest the field, and the policy is not ready.
func TestServiceFieldInGitIsLeftAlone(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		node := s.createNodes(1)[0]
		git := s.inGitService(mode, map[string]any{"externalTrafficPolicy": "Cluster"})
		s.Expect(git.syncOnce(s.ctx)).To(Succeed())
		s.createObjects(testbed.EndpointSlice(s.getService("web"), testbed.Endpoint(node, "10.1.0.1", true)))
		_, rounds := git.startHealing()
		mark, ready := s.markAuditLog(), s.startSampling()
		s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
		s.startOperator()

		s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Conflicted"))
		first := ready()
		s.waitUntilQuiet()
		s.Expect(ready()).To(Equal([]string{"False/Conflicted"}))
		most := 0
		if mode == replace {
			most = 1 // a value without a manager may have been a default, so the operator tries once
		} else {
			s.Expect(first).NotTo(ContainElement(asDeclared))
		}
		s.Expect(len(s.writesOf(mark, "services", "web"))).To(BeNumerically("<=", most))
		s.Expect(rounds()).To(BeNumerically("<=", most))
		s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
		s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(And(
			ContainSubstring(argoManager+" declares it as Cluster"), ContainSubstring("conflictPolicy: Override"),
			ContainSubstring("managedFieldsManagers: [cpnp.dev/services]"), ContainSubstring("RespectIgnoreDifferences=true")))

		s.deletePolicy(s.name)
		s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	})
}

// A field outside of git is only defaulted, so the operator manages the field, and Argo CD
// leaves the field alone.
func TestFieldNotInGitIsManaged(t *testing.T) {
	for _, mode := range []argoMode{clientSide, serverSide} {
		t.Run(strings.Fields(string(mode))[0], func(t *testing.T) {
			s := beginStory(t)
			node := s.createNodes(1)[0]
			git := s.inGitService(mode, nil)
			s.Expect(git.syncOnce(s.ctx)).To(Succeed())
			s.createObjects(testbed.EndpointSlice(s.getService("web"), testbed.Endpoint(node, "10.1.0.1", true)))
			s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
			s.startOperator()
			s.waitUntilReady(s.name)
			s.Expect(git.syncOnce(s.ctx)).To(Succeed(), "a later commit")
			s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))
			s.waitUntilQuiet()
			s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal(asDeclared))
		})
	}
}

// Where the policy overrides a field in git, and Argo CD was not told to ignore the field,
// the field is contested. The status reports the contest from the first round on, also
// while the field has the policy's value, and after a restart of the operator.
func TestOverriddenFieldIsContested(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		wall := &wallClock{}
		s.clock = wall
		node := s.createNodes(1)[0]
		git := s.inGitService(mode, map[string]any{"externalTrafficPolicy": "Cluster"})
		s.Expect(git.syncOnce(s.ctx)).To(Succeed())
		s.createObjects(testbed.EndpointSlice(s.getService("web"), testbed.Endpoint(node, "10.1.0.1", true)))
		mark := s.markAuditLog()
		policy := s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal))
		policy.Spec.Services[0].ConflictPolicy = v1alpha1.ConflictOverride
		policy.Spec.Services[0].LocalPolicy = v1alpha1.LocalForce // a node without an endpoint joins later
		s.createObjects(policy)
		stopOperator := s.startOperator()
		s.waitUntilReady(s.name)
		s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil(), "new intent is no drift")

		stop, rounds := git.startHealing()
		s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Contested"))
		ready := s.startSampling()
		s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(And(
			ContainSubstring("externalTrafficPolicy is set to Cluster instead of Local again and again by "+argoManager),
			ContainSubstring("RespectIgnoreDifferences=true")))
		s.Eventually(rounds).Should(BeNumerically(">=", 5))
		s.Expect(s.lastDrift(s.name)()).To(And(HaveField("Field", "externalTrafficPolicy"), HaveField("Manager", argoManager)), "Argo CD's write is drift, and no new intent")

		stopOperator()
		s.startOperator()
		s.Eventually(rounds).Should(BeNumerically(">=", 7))
		stop()
		s.Eventually(s.externalTrafficPolicy("web")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal), "the operator writes last")
		s.waitUntilQuiet()
		s.Expect(ready()).To(Equal([]string{"False/Contested"}), "in every sample")
		s.Expect(len(s.writesOf(mark, "services", "web"))).To(BeNumerically("<=", rounds()+2), "one write per round")

		wall.leapBy(4 * time.Hour)
		s.joinNode("10.77.0.99") // makes the operator read the clock
		s.waitUntilReady(s.name)
	})
}

// A node in git with its taints: git's list of taints is complete. A kubelet can make the
// same claim, so the claim counts only once git has restored its taints.
func TestTaintsInGitAreLeftAlone(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		node := s.createNodes(1)[0]
		git := s.inGit(mode, "v1", "Node", node, map[string]any{"story": s.name},
			map[string]any{"taints": []any{map[string]any{"key": "theirs", "effect": "NoSchedule"}}})
		s.Eventually(func() []corev1.Taint { return s.getNode(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes has removed its own taints")
		s.Expect(git.syncOnce(s.ctx)).To(Succeed())
		_, rounds := git.startHealing()
		mark := s.markAuditLog()
		s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
		stop := s.startOperator()

		s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionTaintsInSync)).Should(Equal("False/Conflicted"))
		s.waitUntilQuiet()
		s.Expect(s.writesOf(mark, "nodes", node)).To(HaveLen(1))
		s.Expect(rounds()).To(Equal(1))
		stop()
		s.startOperator() // the record shows that git has restored its taints
		s.waitUntilQuiet()
		s.Expect(s.conditionOf(s.name, v1alpha1.ConditionTaintsInSync)()).To(Equal("False/Conflicted"))
		s.Expect(s.writesOf(mark, "nodes", node)).To(HaveLen(1))
		s.Expect(s.taintsOf(node)()).To(ConsistOf("theirs:NoSchedule"))
		s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(ContainSubstring(argoManager + " declares spec.taints without it"))

		// Declaring the policy's taint in git ends the conflict.
		taints := []any{map[string]any{"key": "theirs", "effect": "NoSchedule"}, map[string]any{"key": dedicated, "effect": "NoSchedule"}}
		git.git.Object["spec"] = map[string]any{"taints": taints}
		s.Expect(git.syncOnce(s.ctx)).To(Succeed())
		s.waitUntilReady(s.name)

		s.deletePolicy(s.name)
		s.Expect(s.taintsOf(node)()).To(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"), "git's taints stay")
	})
}

// A tool that removes a taint again and again without declaring taints is contested at any
// interval. The tool is the manager of the remaining list.
func TestRepeatedlyRemovedTaintIsContested(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	mark := s.markAuditLog()
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	s.waitUntilReady(s.name)
	for range 5 {
		s.patchObject(s.getNode(node), "fleet-agent", `{"spec":{"taints":[{"key":"theirs","effect":"NoSchedule"}]}}`)
		s.Eventually(s.taintsOf(node)).Should(ContainElement(dedicated + ":NoSchedule"))
	}
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Contested"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(And(
		ContainSubstring("is removed again and again by fleet-agent"), ContainSubstring("declare the same taint")))
	s.Expect(len(s.writesOf(mark, "nodes", node))).To(Equal(6))
}

// gitNetworkPolicy is a NetworkPolicy in git with the name and the labels of a managed one.
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
	policy := s.newPolicy()
	policy.Spec.Taints, policy.Spec.Services = nil, nil
	return policy
}

// A NetworkPolicy from git, created before the policy, is not adopted, and is not deleted
// with the policy.
func TestObjectInGitIsNotTakenOver(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		s.createNodes(1)
		git := s.gitNetworkPolicy(mode)
		s.Expect(git.syncOnce(s.ctx)).To(Succeed())
		before := s.networkPolicies()
		mark, ready := s.markAuditLog(), s.startSampling()
		s.createObjects(s.onlyNetwork())
		s.startOperator()
		s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionAccepted)).Should(Equal("False/Conflicted"))
		s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(ContainSubstring("which " + argoManager + " declares"))
		s.waitUntilQuiet()
		s.Expect(ready()).NotTo(ContainElement(asDeclared))
		s.Expect(s.writesOf(mark, "networkpolicies", before[0].Name)).To(BeEmpty())
		s.deletePolicy(s.name)
		s.Expect(s.networkPolicies()).To(Equal(before))
	})
}

// A managed NetworkPolicy that is later declared in git stays managed, and is repaired: the
// status reports the contest.
func TestObjectTakenIntoGitIsContested(t *testing.T) {
	inEveryMode(t, func(s *story, mode argoMode) {
		s.createNodes(1)
		s.createObjects(s.onlyNetwork())
		stopOperator := s.startOperator()
		s.waitUntilReady(s.name)
		wanted := s.networkPolicyOf("coredns").Spec
		mark := s.markAuditLog()
		git := s.gitNetworkPolicy(mode)
		stop, rounds := git.startHealing()
		s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Contested"))
		ready := s.startSampling()
		s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(And(ContainSubstring("by "+argoManager), ContainSubstring("remove it there")))
		s.Eventually(rounds).Should(BeNumerically(">=", 5))
		stopOperator()
		s.startOperator()
		s.Eventually(rounds).Should(BeNumerically(">=", 6))
		stop()
		s.Eventually(func() networkingv1.NetworkPolicySpec { return s.networkPolicyOf("coredns").Spec }).Should(Equal(wanted))
		s.waitUntilQuiet()
		s.Expect(ready()).To(Equal([]string{"False/Contested"}), "in every sample")
		s.Expect(len(s.writesOf(mark, "networkpolicies", git.git.GetName()))).To(BeNumerically("<=", rounds()+2))
	})
}

// A release without effect, because another manager owns the field, is reported.
func TestReleaseWithoutEffectIsReported(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeNodePort)
	s.createObjects(testbed.EndpointSlice(s.getService("web"), testbed.Endpoint(node, "10.1.0.1", true)))
	s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
	s.startOperator()
	s.waitUntilReady(s.name)
	s.declareField("web", argoManager, "externalTrafficPolicy", "Local")
	s.deletePolicy(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement(And(HaveField("Reason", "StillHeld"),
		HaveField("Note", ContainSubstring("externalTrafficPolicy was released and stays Local, because "+argoManager+" holds it too")))))
}

// Removing only the record does not remove the knowledge of the original.
func TestRemovedRecordIsWrittenAgain(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createService("web", corev1.ServiceTypeNodePort)
	s.createObjects(testbed.EndpointSlice(s.getService("web"), testbed.Endpoint(node, "10.1.0.1", true)))
	s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
	s.startOperator()
	s.waitUntilReady(s.name)
	record := s.getService("web").Annotations[v1alpha1.AnnotationRecord]
	s.Expect(s.admin.Patch(s.ctx, s.getService("web"), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"cpnp.dev/record":null}}}`)), client.FieldOwner("mallory"))).To(Succeed())
	s.Eventually(func() string { return s.getService("web").Annotations[v1alpha1.AnnotationRecord] }).Should(Equal(record))
	s.deletePolicy(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
}
