// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// requests are the operator's requests to the API server, from the audit log, without
// renewals of watches and of the lease, which never stop.
type requests struct {
	// Repairs are writes of Nodes, Services, NetworkPolicies and finalizers, successful or
	// not.
	Repairs []testbed.AuditEvent
	// Status are writes of policies' status, Events are writes of events.
	Status, Events []testbed.AuditEvent
	// Reads are all other requests.
	Reads []testbed.AuditEvent
}

// countAll returns the number of all requests.
func (r requests) countAll() int {
	return len(r.Repairs) + len(r.Status) + len(r.Events) + len(r.Reads)
}

// String lists the requests, for failure messages.
func (r requests) String() string {
	text := ""
	for _, sort := range []struct {
		name   string
		events []testbed.AuditEvent
	}{{"repair", r.Repairs}, {"status", r.Status}, {"event", r.Events}, {"read", r.Reads}} {
		for _, e := range sort.events {
			text += fmt.Sprintf("%s %s %s %s %s/%s: %d\n", e.Time.Format("05.000"), sort.name, e.Verb, e.Resource, e.Namespace, e.Name, e.Code)
		}
	}
	return text
}

// markAuditLog returns the current end of the audit log.
func (s *story) markAuditLog() testbed.Mark {
	s.t.Helper()
	mark, err := s.cluster.Audit().Mark()
	s.Expect(err).NotTo(HaveOccurred())
	return mark
}

// requestsSince returns the operator's requests after the mark.
func (s *story) requestsSince(mark testbed.Mark) requests {
	s.t.Helper()
	logged, err := s.cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	var r requests
	for _, e := range logged {
		switch {
		case e.User != operatorUser, e.Verb == "watch", e.Resource == "leases":
		case !e.Mutating():
			r.Reads = append(r.Reads, e)
		case e.Resource == "events":
			r.Events = append(r.Events, e)
		case e.Subresource == "status":
			r.Status = append(r.Status, e)
		default:
			r.Repairs = append(r.Repairs, e)
		}
	}
	return r
}

// reportPace is timing.StatusInterval, from the answer to one report until the next
// report, less the largest correction of the wall clock.
const reportPace = time.Second - 100*time.Millisecond

// reportTime is the time limit for reporting a change, if no other change follows: a report
// is delayed and then paced, by controllers.reportDelay and writeInterval.
const reportTime = 1500 * time.Millisecond

// waitUntilQuiet waits until the operator has made no requests for so long that no report
// of an earlier change can follow.
func (s *story) waitUntilQuiet() {
	s.t.Helper()
	s.waitUntilQuietFor(reportTime)
}

// waitUntilQuietFor is waitUntilQuiet with another time.
func (s *story) waitUntilQuietFor(long time.Duration) {
	s.t.Helper()
	mark, since := s.markAuditLog(), time.Now()
	s.Eventually(func() time.Duration {
		if s.requestsSince(mark).countAll() > 0 {
			mark, since = s.markAuditLog(), time.Now()
		}
		return time.Since(since)
	}).WithPolling(2*tick).Should(BeNumerically(">", long), "the operator continues to send requests to the API server")
}

// expectNoRequests expects the operator to make no request for the time d.
func (s *story) expectNoRequests(d time.Duration) {
	s.t.Helper()
	mark := s.markAuditLog()
	s.Consistently(func() requests { return s.requestsSince(mark) }, d, 2*tick).Should(BeZero())
}

// mostWithin returns the largest number of writes within a time. A write that was refused
// because of a conflict does not count, and is repeated sooner.
func mostWithin(events []testbed.AuditEvent, within time.Duration) int {
	made := slices.DeleteFunc(slices.Clone(events), func(e testbed.AuditEvent) bool { return e.Code == http.StatusConflict })
	most := 0
	for i, first := range made {
		count := 0
		for _, e := range made[i:] {
			if e.Time.Sub(first.Time) < within {
				count++
			}
		}
		most = max(most, count)
	}
	return most
}

// countReconciliations counts the reconciliations in this process so far: of the story only if it was begun alone.
func (s *story) countReconciliations() float64 {
	s.t.Helper()
	families, err := metrics.Registry.Gather()
	s.Expect(err).NotTo(HaveOccurred())
	total := 0.0
	for _, family := range families {
		if family.GetName() == "controller_runtime_reconcile_total" {
			for _, m := range family.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total
}
