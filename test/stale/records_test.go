// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/staleproxy"
)

// Ready does not become True before the last node's phase is recorded: a restarted operator would not know of it.
func TestReadyWaitsForTheRecordOfTheLastNode(t *testing.T) {
	for name, fate := range map[string]staleproxy.Fate{"refused": staleproxy.Refuse, "contradicted": staleproxy.Contradict} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t)
			s.start()
			s.create(s.policy(soak(1)))
			s.Eventually(func() bool { return s.scopedCount() == members && s.phase(members-1)() == "Progressing/Soaking" }).Should(BeTrue(), s.tell)
			s.proxy.Spoil(meeting(fate, "controlplanenodeenactments"))
			s.lasts(4 * time.Second) // the soak is over then
			s.Expect(s.condition(v1alpha1.ConditionReady)()).To(HavePrefix("False/"))
			s.Expect(s.phase(members-1)()).To(Equal("Progressing/Soaking"), "the next phase could not be recorded")
			s.proxy.Spoil(nil)
			s.ready()
			s.expectSound()
		})
	}
}

// An operator that starts where all rendered objects exist already does not
// report the nodes as declared before every enactment shows that.
func TestReadyWaitsForTheRecordsOfAllNodes(t *testing.T) {
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
	s.expectSound()
}
