// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

type spec = v1alpha1.ControlPlaneNetworkPolicySpec

// scenario is an event in the life of a policy that is as declared. Stale objects are shown meanwhile.
type scenario struct {
	name string
	// before brings about the initial state; nil is [story.rest].
	before func(*story)
	// happens causes the event.
	happens func(*story)
	// ends waits for the right outcome, after the stale state ends and without further changes.
	ends func(*story)
	// after reverts the event; nil if nothing has to be reverted.
	after func(*story)
	// frozen are the kinds that are each frozen alone whatever the seed, because they failed once.
	frozen []string
}

// scenarios are those of test/rollout and test/leaving, without packets.
var scenarios = []scenario{
	{
		name:    "comes",
		before:  (*story).absent,
		happens: func(s *story) { s.create(s.policy()) },
		ends:    (*story).ready,
	},
	{
		name:   "comes and goes",
		before: (*story).absent,
		happens: func(s *story) {
			s.create(s.policy())
			s.within(2*time.Second, func() bool { return strings.HasPrefix(s.phase(0)(), "Enforced") })
			s.delete()
		},
		ends: (*story).gone,
		frozen: []string{
			"networkpolicies", "services", "hostendpoints", "felixconfigurations", "globalnetworkpolicies", "controlplanenodeenactments",
		},
	},
	{
		name:    "changes",
		happens: func(s *story) { s.edit(s.newRules()) },
		ends:    (*story).ready,
	},
	{
		name: "changes while it is rolled out",
		before: func(s *story) {
			s.rest()
			s.edit(s.newRules())
			s.Eventually(s.phase(0)).Should(HavePrefix("Progressing/"), s.tell)
		},
		happens: func(s *story) { s.edit(s.newRules()) },
		ends:    (*story).ready,
		frozen:  []string{"controlplanenetworkpolicies"},
	},
	{
		name:    "changes while a node soaks",
		before:  (*story).soaks,
		happens: func(s *story) { s.edit(s.newRules(), soak(0)) },
		ends:    (*story).ready,
	},
	{
		name: "a probe fails",
		before: func(s *story) {
			s.rest()
			s.makeNewRulesCut()
			s.startObserver()
		},
		happens: func(s *story) { s.edit(s.newRules()) },
		ends: func(s *story) {
			s.Eventually(s.phase(0)).Should(Equal("Reverted/ProbeFailed"), s.tell)
			s.Eventually(s.phase(1)).Should(Equal("Aborted/RolloutFailed"), s.tell)
			s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolloutFailed"), s.tell)
			s.Eventually(s.versions).Should(HaveLen(1), s.tell)
		},
		after: func(s *story) {
			s.stopObserver()
			s.absent() // otherwise the operator would wait for the observer
		},
	},
	{
		name:    "a node is not ready while it is rolled out",
		before:  (*story).soaks,
		happens: func(s *story) { s.setNodeReady(1, corev1.ConditionUnknown) },
		ends: func(s *story) {
			s.Eventually(s.phase(0)).Should(Equal("Reverted/NodeNotReady"), s.tell)
			s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolloutFailed"), s.tell)
			s.Eventually(s.versions).Should(HaveLen(1), s.tell)
		},
		after: func(s *story) {
			s.setNodeReady(1, corev1.ConditionTrue)
			s.edit(s.newRules(), soak(0))
		},
	},
	{
		name:    "the operator starts anew while it is rolled out",
		before:  func(s *story) { s.rest(); s.edit(s.newRules()) },
		happens: func(s *story) { s.stop(); s.start() },
		ends:    (*story).ready,
	},
	{
		name:    "is rolled back",
		happens: func(s *story) { s.annotate(v1alpha1.AnnotationRevert, "paged at night") },
		ends: func(s *story) {
			s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
			s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolledBack"), s.tell)
		},
		after: func(s *story) { s.annotate(v1alpha1.AnnotationRevert, "") },
	},
	{
		name:    "is suspended",
		happens: func(s *story) { s.edit(s.newRules(), suspend(true)) },
		ends: func(s *story) {
			s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("True/Suspended"), s.tell)
			s.Expect(s.endpoints()).To(HaveLen(s.nodes))
		},
		after: func(s *story) { s.edit(suspend(false)) },
	},
	{
		name:    "is deleted",
		happens: (*story).delete,
		ends:    (*story).gone,
	},
	{
		name: "is deleted and leaves all behind",
		before: func(s *story) {
			s.rest()
			s.edit(func(p *spec) { p.DeletionPolicy = v1alpha1.DeletionOrphan })
			s.ready()
		},
		happens: (*story).delete,
		ends: func(s *story) {
			s.gone()
			s.Expect(s.endpoints()).To(HaveLen(s.nodes))
			s.Expect(s.versions()).To(HaveLen(1))
		},
	},
	{
		name: "a node joins",
		before: func(s *story) {
			s.rest()
			for s.nodes > members {
				s.leave()
			}
			s.protects()
		},
		happens: (*story).join,
		ends:    (*story).protects,
	},
	{
		name: "a node leaves",
		before: func(s *story) {
			s.rest()
			for s.nodes <= members {
				s.join()
			}
			s.protects()
		},
		happens: (*story).leave,
		ends:    (*story).protects,
	},
	{
		name: "records are deleted",
		happens: func(s *story) {
			s.Expect(s.admin.DeleteAllOf(context.Background(), &v1alpha1.ControlPlaneNodeEnactment{})).To(Succeed())
		},
		ends: (*story).protects,
	},
	{
		name: "failsafe ports are scoped",
		before: func(s *story) {
			s.rest()
			s.edit(failsafe(v1alpha1.FailsafeKeep))
			s.Eventually(s.scopedCount).Should(BeZero(), s.tell)
			s.enforced()
		},
		happens: func(s *story) { s.edit(failsafe(v1alpha1.FailsafeScope)) },
		ends: func(s *story) {
			s.Eventually(s.scopedCount).Should(Equal(s.nodes), s.tell)
			s.ready()
		},
	},
	{
		name:    "hosts are not protected any more",
		happens: func(s *story) { s.edit(backend(v1alpha1.HostBackendNone)) },
		ends: func(s *story) {
			s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
			for i := range s.nodes {
				s.Eventually(s.phase(i)).Should(Equal("none"), s.tell)
			}
		},
		after: func(s *story) { s.edit(backend(v1alpha1.HostBackendAuto)) },
	},
}

func suspend(is bool) func(*spec)               { return func(p *spec) { p.Suspend = is } }
func failsafe(is v1alpha1.Failsafe) func(*spec) { return func(p *spec) { p.Network.Failsafe = is } }
func backend(is v1alpha1.HostBackend) func(*spec) {
	return func(p *spec) { p.Network.HostBackend = is }
}
func soak(seconds int32) func(*spec) { return func(p *spec) { p.Rollout.SoakSeconds = &seconds } }

// absent deletes the policy if it exists.
func (s *story) absent() {
	if s.policyExists() {
		s.remove()
	}
}

// rest creates the policy if it does not exist, and waits until everything is as declared.
func (s *story) rest() {
	s.t.Helper()
	if !s.policyExists() {
		s.create(s.policy())
	}
	s.ready()
}

// soaks starts a rollout of new rules, whose first node stays in flight until the test ends that.
func (s *story) soaks() {
	s.t.Helper()
	s.rest()
	s.edit(s.newRules(), soak(600))
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Soaking"), s.tell)
}

// protects waits until exactly the existing nodes have the same rules, no set
// has the address of the node that left last, and the policy is Ready.
func (s *story) protects() {
	s.t.Helper()
	s.Eventually(s.endpoints).Should(HaveLen(s.nodes), s.tell)
	s.enforced()
	s.Eventually(s.phase(s.nodes)).Should(Equal("none"), s.tell)
	s.Eventually(s.letsIn(s.nodes)).Should(BeFalse(), s.tell)
	s.ready()
	s.Expect(s.versions()).To(HaveLen(1))
}

func (s *story) enforced() {
	s.t.Helper()
	for i := range s.nodes {
		s.Eventually(s.phase(i)).Should(HavePrefix("Enforced/"), s.tell)
	}
}
