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

func (s *story) mark() testbed.Mark {
	s.t.Helper()
	mark, err := cluster.Audit().Mark()
	s.Expect(err).NotTo(HaveOccurred())
	return mark
}

// asked are the operator's requests since the mark that are wanted, one a line.
func (s *story) asked(mark testbed.Mark, wanted func(testbed.AuditEvent) bool) []string {
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

// requests are all but watches, which are renewed at all times.
func requests(e testbed.AuditEvent) bool { return e.Verb != "watch" }

// toCalico are writes to Calico, successful or not.
func toCalico(e testbed.AuditEvent) bool {
	return e.Mutating() && strings.HasSuffix(e.Group, "projectcalico.org")
}

// forbidden are the requests of the story that its rights did not suffice for.
func (s *story) forbidden() []string {
	return s.asked(s.began, func(e testbed.AuditEvent) bool { return e.Code == http.StatusForbidden })
}

// leavesCalicoAlone watches for some time that nothing has been written to
// Calico since the mark.
func (s *story) leavesCalicoAlone(mark testbed.Mark, d time.Duration) {
	s.t.Helper()
	s.Consistently(func() []string { return s.asked(mark, toCalico) }, d).Should(BeEmpty())
}

// reportTime is within what a change is reported, if nothing else comes.
const reportTime = 1500 * time.Millisecond

// quiet returns when the operator has asked for nothing for long enough that no
// report of what happened before is still to come.
func (s *story) quiet() {
	s.t.Helper()
	mark, since := s.mark(), time.Now()
	s.Eventually(func() time.Duration {
		if len(s.asked(mark, requests)) > 0 {
			mark, since = s.mark(), time.Now()
		}
		return time.Since(since)
	}).WithPolling(5*tick).Should(BeNumerically(">", reportTime), "the operator goes on asking the API server")
}

// reconciliations counts those of policies in this process so far.
func reconciliations() float64 { return total("controller_runtime_reconcile_total") }

// total adds up a counter of controller-runtime's.
func total(name string) float64 {
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

// forHosts says whether a right is to something of Calico, or to the record of what
// is done there: where there is no Calico, none is written.
func forHosts(right string) bool {
	return strings.Contains(right, "projectcalico.org/") || strings.Contains(right, "/controlplanenodeenactments")
}

// indirect says whether a right is not asked for by the operator itself.
func indirect(right string) bool {
	return right == "get projectcalico.org/tiers" || strings.Contains(right, "/tier.")
}
