// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// A node that boots with a clock that is ahead probes again once the clock is corrected.
func TestTLSIsProbedAgainAfterTheClockWasSetBack(t *testing.T) {
	g := NewWithT(t)
	w := observingTLS(t, "cp-1", nodePosture())
	w.clock.SetTime(now.Add(365 * 24 * time.Hour))
	_, err := w.reconcileTLS(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(w.applies).NotTo(BeEmpty())
	before := len(w.applies)
	w.clock.SetTime(now)
	result, err := w.reconcileTLS(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(result.RequeueAfter).To(BeNumerically("<", time.Hour))
	g.Expect(len(w.applies)).To(BeNumerically(">", before))
}
