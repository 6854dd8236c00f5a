// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

func (s *story) markAuditLog() testbed.Mark {
	s.t.Helper()
	mark, err := cluster.Audit().Mark()
	s.Expect(err).NotTo(HaveOccurred())
	return mark
}

// requestsSince returns the operator's wanted requests since the mark, one in each line.
func (s *story) requestsSince(mark testbed.Mark, wanted func(testbed.AuditEvent) bool) []string {
	s.t.Helper()
	logged, err := cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	var lines []string
	for _, e := range logged {
		if e.User == operatorUser && wanted(e) {
			lines = append(lines, fmt.Sprintf("%s %s %s/%s %s/%s: %d", e.Time.Format("05.000"), e.Verb, e.Group, e.Resource, e.Namespace, e.Name, e.Code))
		}
	}
	return lines
}

// isNoWatch selects all requests but watches, which are renewed all the time.
func isNoWatch(e testbed.AuditEvent) bool { return e.Verb != "watch" }

// writesToCalico selects writes of Calico's objects, successful or not.
func writesToCalico(e testbed.AuditEvent) bool {
	return e.Mutating() && strings.HasSuffix(e.Group, "projectcalico.org")
}

// forbiddenRequests returns the requests of the story which the operator had no right to
// make.
func (s *story) forbiddenRequests() []string {
	return s.requestsSince(s.began, func(e testbed.AuditEvent) bool { return e.Code == http.StatusForbidden })
}

// expectNoCalicoWrites expects no write of Calico's objects since the mark, and none for
// some time more.
func (s *story) expectNoCalicoWrites(mark testbed.Mark, d time.Duration) {
	s.t.Helper()
	s.Consistently(func() []string { return s.requestsSince(mark, writesToCalico) }, d).Should(BeEmpty())
}

// reportTime is the time limit for reporting a change, if no other change follows.
const reportTime = 1500 * time.Millisecond

// waitUntilQuiet waits until the operator has made no requests for so long that no report
// of an earlier change can follow.
func (s *story) waitUntilQuiet() {
	s.t.Helper()
	mark, since := s.markAuditLog(), time.Now()
	s.Eventually(func() time.Duration {
		if len(s.requestsSince(mark, isNoWatch)) > 0 {
			mark, since = s.markAuditLog(), time.Now()
		}
		return time.Since(since)
	}).WithPolling(2*tick).Should(BeNumerically(">", reportTime), "the operator continues to send requests to the API server")
}

// countReconciliations counts the reconciliations in this process so far.
func countReconciliations() float64 { return totalOf("controller_runtime_reconcile_total") }

// totalOf adds up one counter of controller-runtime.
func totalOf(name string) float64 {
	families, err := metrics.Registry.Gather()
	if err != nil {
		return -1
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// isForHosts tells whether a right is for Calico's objects or for enactments: without
// Calico, the operator writes neither.
func isForHosts(right string) bool {
	return strings.Contains(right, "projectcalico.org/") || strings.Contains(right, "/controlplanenodeenactments")
}

// isIndirect tells whether the operator itself does not use a right.
func isIndirect(right string) bool {
	return right == "get projectcalico.org/tiers" || strings.Contains(right, "/tier.")
}
