// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// blindFor is how long a restarted operator is shown the past.
const blindFor = 3 * time.Second

// restart starts the operator again, and shows it the kinds in their remembered state for some time.
func (s *story) restart(resources ...string) {
	s.t.Helper()
	s.proxy.Old(resources...)
	s.proxy.Freeze(resources...)
	s.start()
	s.lasts(blindFor)
	s.proxy.Thaw()
}

// A restarted operator that reads the enactments from before a rollback does
// not put the failed rules back on the node.
func TestRestartWithRecordsFromBeforeARollBack(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.proxy.Spoil(refusing("hostendpoints"))
	s.create(s.policy(soak(60)))
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Writing"), s.tell)
	s.Expect(s.proxy.Remember(t.Context(), "controlplanenodeenactments")).To(Succeed())
	s.proxy.Spoil(nil)
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Soaking"), s.tell)
	s.setNodeReady(1, corev1.ConditionUnknown)
	s.Eventually(s.phase(0)).Should(Equal("Reverted/NodeNotReady"), s.tell)
	s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
	s.setNodeReady(1, corev1.ConditionTrue)
	s.stop()
	s.restart("controlplanenodeenactments")
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolloutFailed"), s.tell)
	s.Expect(s.endpoints()).To(BeEmpty())
	s.expectSound()
}

// A restarted operator that reads the enactments from before a node was started does
// not scope the opened failsafe ports again, and does not give the node its old rules.
func TestRestartWithRecordsFromBeforeANodeWasStarted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy())
	s.ready()
	s.Expect(s.proxy.Remember(t.Context(), "controlplanenodeenactments")).To(Succeed())
	s.edit(s.newRules(), soak(60))
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Soaking"), s.tell)
	s.stop()
	before := s.endpoints()
	s.restart("controlplanenodeenactments")
	s.Expect(s.endpoints()).To(Equal(before))
	s.edit(soak(0))
	s.ready()
	s.expectSound()
}

// After an emergency rollback by annotation, everything stays rolled back,
// even if a restarted operator reads the policy without the annotation.
func TestRestartWithThePolicyFromBeforeItWasRolledBack(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy())
	s.ready()
	s.Expect(s.proxy.Remember(t.Context(), "controlplanenetworkpolicies")).To(Succeed())
	s.annotate(v1alpha1.AnnotationRevert, "paged at night")
	s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolledBack"), s.tell)
	s.stop()
	s.restart("controlplanenetworkpolicies")
	s.Expect(s.endpoints()).To(BeEmpty())
	s.Expect(s.condition(v1alpha1.ConditionReady)()).To(Equal("False/RolledBack"))
	s.expectSound()
}

// A restarted operator that reads open failsafe ports does not start a node whose failsafe ports are really scoped.
func TestRestartWithFailsafePortsFromBeforeTheyWereScoped(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy(soak(60)))
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Soaking"), s.tell)
	s.Expect(s.proxy.Remember(t.Context(), "felixconfigurations")).To(Succeed())
	s.edit(soak(0))
	s.ready()
	s.stop()
	s.edit(s.newRules(), soak(60))
	s.restart("felixconfigurations")
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Soaking"), s.tell)
	s.expectSound()
}
