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

// requests are what an operator asked of the API server, from the audit log.
// Renewals of watches and of the lease are left out: they go on at all times.
type requests struct {
	// Repairs are writes of Nodes, Services, NetworkPolicies and finalizers,
	// successful or not.
	Repairs []testbed.AuditEvent
	// Status are writes of policies' status, Events those of events.
	Status, Events []testbed.AuditEvent
	// Reads are all the others.
	Reads []testbed.AuditEvent
}

// all are the requests of every sort.
func (r requests) all() int { return len(r.Repairs) + len(r.Status) + len(r.Events) + len(r.Reads) }

// String lists the requests, for when there are too many of them.
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

// mark is the present end of the audit log.
func (s *story) mark() testbed.Mark {
	s.t.Helper()
	mark, err := cluster.Audit().Mark()
	s.Expect(err).NotTo(HaveOccurred())
	return mark
}

// requestsSince returns what the operator has asked for after the mark.
func (s *story) requestsSince(mark testbed.Mark) requests {
	s.t.Helper()
	logged, err := cluster.Audit().Since(mark)
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

// reportPace is controllers.writeInterval, from one report's answer to the next
// report, less what the clock on the wall may be set by meanwhile.
const reportPace = time.Second - 100*time.Millisecond

// reportTime is within what a change is reported, if nothing else comes: a
// report is delayed and then paced, by controllers.reportDelay and
// writeInterval.
const reportTime = 1500 * time.Millisecond

// quiet returns when the operator has asked for nothing for long enough that no
// report of what happened before is still to come.
func (s *story) quiet() {
	s.t.Helper()
	s.quietFor(reportTime)
}

// quietFor is quiet for another time.
func (s *story) quietFor(long time.Duration) {
	s.t.Helper()
	mark, since := s.mark(), time.Now()
	s.Eventually(func() time.Duration {
		if s.requestsSince(mark).all() > 0 {
			mark, since = s.mark(), time.Now()
		}
		return time.Since(since)
	}).WithPolling(5*tick).Should(BeNumerically(">", long), "the operator goes on asking the API server")
}

// asksNothingFor watches for as long as d that the operator asks for nothing.
func (s *story) asksNothingFor(d time.Duration) {
	s.t.Helper()
	mark := s.mark()
	s.Consistently(func() requests { return s.requestsSince(mark) }, d, 5*tick).Should(BeZero())
}

// fastest is how many writes were made at most within a time. One that was refused
// because somebody else had written was not made, and is tried again sooner.
func fastest(events []testbed.AuditEvent, within time.Duration) int {
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

// reconciliations counts the reconciliations in this process so far.
func (s *story) reconciliations() float64 {
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
