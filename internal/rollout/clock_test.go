// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// An operator whose clock was an hour ahead started a node, and an observer is cut off since.
// The node is rolled back within its timeout by the clock of the operator that took over.
func TestTimesAfterThePresentEndNoTimeout(t *testing.T) {
	g := NewWithT(t)
	const timeout = 120 // seconds, the default
	in := one("Probing", with(seen, startedFor(-3600), asked(-3600), found("cp-2", 7, open, open), found("worker", 6, open, open))...)()
	begun := in.Now
	for {
		d := rollout.Decide(in)
		if strings.HasPrefix(phasesOf(d.Enactments)[0], "Reverted") {
			break
		}
		in = next(in, d)
		in.Now = in.Now.Add(10 * time.Second)
		g.Expect(in.Now.Sub(begun)).To(BeNumerically("<=", (timeout+20)*time.Second), "%v", phasesOf(d.Enactments))
	}
	g.Expect(in.Now.Sub(begun)).To(BeNumerically(">=", timeout*time.Second))
}
