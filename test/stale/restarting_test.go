// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// blindFor is how long an operator that has started anew is shown the past.
const blindFor = 3 * time.Second

// restart starts the operator anew, and shows it the kinds as they were when they were
// remembered, for some time.
func (s *story) restart(resources ...string) {
	s.t.Helper()
	s.proxy.Old(resources...)
	s.proxy.Freeze(resources...)
	s.start()
	s.lasts(blindFor)
	s.proxy.Thaw()
}

// Rules from which a node was saved are not put back on it by an operator that is shown
// the records from before that.
func TestRestartWithRecordsFromBeforeTheNodeWasSaved(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.proxy.Spoil(refusing("hostendpoints"))
	s.create(s.policy(soak(60)))
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Writing"), s.tell)
	s.Expect(s.proxy.Remember(t.Context(), "controlplanenodeenactments")).To(Succeed())
	s.proxy.Spoil(nil)
	s.Eventually(s.phase(0)).Should(Equal("Progressing/Soaking"), s.tell)
	s.nodeReady(1, corev1.ConditionUnknown)
	s.Eventually(s.phase(0)).Should(Equal("Reverted/NodeNotReady"), s.tell)
	s.Eventually(s.endpoints).Should(BeEmpty(), s.tell)
	s.nodeReady(1, corev1.ConditionTrue)
	s.stop()
	s.restart("controlplanenodeenactments")
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("False/RolloutFailed"), s.tell)
	s.Expect(s.endpoints()).To(BeEmpty())
	s.sound()
}

// Failsafe ports that were widened to begin a node are not narrowed again, and the node
// does not get its old rules, because of a record from before.
func TestRestartWithRecordsFromBeforeTheNodeWasBegun(t *testing.T) {
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
	s.sound()
}

// What somebody took back in an emergency stays so, whatever policy the operator is shown.
func TestRestartWithThePolicyFromBeforeItWasTakenBack(t *testing.T) {
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
	s.sound()
}

// A node is not begun with its failsafe ports narrow because the operator is shown that
// they are wide.
func TestRestartWithFailsafePortsFromBeforeTheyWereNarrow(t *testing.T) {
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
	s.sound()
}
