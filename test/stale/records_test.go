// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/staleproxy"
)

// That the last node is done is not told before it is on record: it would be forgotten by
// an operator that begins anew.
func TestReadyIsNotToldOfWhatIsNotOnRecord(t *testing.T) {
	for name, fate := range map[string]staleproxy.Fate{"refused": staleproxy.Refuse, "contradicted": staleproxy.Contradict} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t)
			s.start()
			s.create(s.policy(soak(1)))
			s.Eventually(func() bool { return s.narrow() == members && s.phase(members-1)() == "Progressing/Soaking" }).Should(BeTrue(), s.tell)
			s.proxy.Spoil(meeting(fate, "controlplanenodeenactments"))
			s.lasts(4 * time.Second) // the soak is over then
			s.Expect(s.condition(v1alpha1.ConditionReady)()).To(HavePrefix("False/"))
			s.Expect(s.phase(members-1)()).To(Equal("Progressing/Soaking"), "what follows could not be recorded")
			s.proxy.Spoil(nil)
			s.ready()
			s.sound()
		})
	}
}

// An operator that starts where all that is rendered is there already does not tell that
// the nodes are as declared before it is on record how far each of them is.
func TestReadyIsNotToldOfNodesThatNothingIsOnRecordOf(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.start()
	s.create(s.policy(func(p *spec) { p.DeletionPolicy = v1alpha1.DeletionOrphan }))
	s.ready()
	s.remove()
	s.stop()
	s.create(s.policy())
	s.start()
	s.ready()
	s.stop()
	s.edit(s.newRules())
	s.start()
	s.ready()
	s.sound()
}
