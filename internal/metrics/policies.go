// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// book holds the series of each existing policy. Records on objects contain names of
// policies too, and others can write such records: a name without a policy gets no
// series.
var book = &ledger{series: map[string]map[series]bool{}}

type ledger struct {
	mu     sync.Mutex
	series map[string]map[series]bool
}

// series is one series of a policy, named by the labels after the name of the policy.
type series struct {
	vector *prometheus.MetricVec
	labels string
}

const separator = "\xff" // no label value contains the separator

// noteSeries says whether the policy exists, and notes that the policy has the series.
func (l *ledger) noteSeries(policy string, vector *prometheus.MetricVec, labels ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, exists := l.series[policy]
	if exists {
		of[series{vector, strings.Join(labels, separator)}] = true
	}
	return exists
}

// SetPolicies sets which policies exist. The series of other policies are deleted.
func SetPolicies(names []string) {
	book.mu.Lock()
	defer book.mu.Unlock()
	for _, name := range names {
		if book.series[name] == nil {
			book.series[name] = map[series]bool{}
		}
	}
	if len(book.series) == len(names) {
		return
	}
	for policy, of := range book.series {
		if slices.Contains(names, policy) {
			continue
		}
		for s := range of {
			s.vector.DeleteLabelValues(append([]string{policy}, strings.Split(s.labels, separator)...)...)
		}
		delete(book.series, policy)
	}
}
