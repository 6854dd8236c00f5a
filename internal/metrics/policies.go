// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"maps"
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

// gaugeValue is the value of one series of a gauge. The labels follow the name of the
// policy.
type gaugeValue struct {
	labels []string
	value  float64
}

// replaceGauge sets the series of a policy in a gauge, and deletes the other series of the
// policy in the gauge.
func (l *ledger) replaceGauge(policy string, gauge *prometheus.GaugeVec, values []gaugeValue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, exists := l.series[policy]
	if !exists {
		return
	}
	wanted := map[series]bool{}
	for _, v := range values {
		gauge.WithLabelValues(append([]string{policy}, v.labels...)...).Set(v.value)
		wanted[series{gauge.MetricVec, strings.Join(v.labels, separator)}] = true
	}
	for s := range of {
		if s.vector == gauge.MetricVec && !wanted[s] {
			s.deleteFrom(policy)
			delete(of, s)
		}
	}
	maps.Copy(of, wanted)
}

// deleteFrom deletes the series of a policy.
func (s series) deleteFrom(policy string) {
	labels := []string{policy}
	if s.labels != "" { // else the metric has no label but the policy
		labels = append(labels, strings.Split(s.labels, separator)...)
	}
	s.vector.DeleteLabelValues(labels...)
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
			s.deleteFrom(policy)
		}
		delete(book.series, policy)
	}
}
