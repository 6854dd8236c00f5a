// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// book has the series of each policy that exists. Names of policies also stand in
// records on objects, where others write them: of such a name there is no series.
var book = &ledger{series: map[string]map[series]bool{}}

type ledger struct {
	mu     sync.Mutex
	series map[string]map[series]bool
}

// series is one of a policy, by its labels after the policy's name.
type series struct {
	vector *prometheus.MetricVec
	labels string
}

const separator = "\xff" // in no label's value

// has says whether the policy exists, and notes that it has a series.
func (l *ledger) has(policy string, vector *prometheus.MetricVec, labels ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, exists := l.series[policy]
	if exists {
		of[series{vector, strings.Join(labels, separator)}] = true
	}
	return exists
}

// Policies says which policies exist. The series of others go.
func Policies(names []string) {
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
