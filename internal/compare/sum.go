// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"maps"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
)

// sum is the sum of what the objects of one kind add to a report. The zero value is an empty
// sum.
type sum[K comparable] struct {
	count
	// counts are the numbers that the selected objects add, and notable is what some of them
	// add besides.
	counts  map[K]count
	notable map[K]notable
	// marked are the objects to compare for the next report. An object whose part follows from
	// more than the object stays marked.
	marked map[K]bool
}

// count counts declared fields, and those that are as declared.
type count struct{ declared, inSync int32 }

// notable is what an object adds besides numbers. Few objects add anything.
type notable struct {
	findings  []drift.Finding
	losses    []plan.Loss
	oldRecord bool
}

// part is what one selected object adds.
type part struct {
	count
	notable
}

// partOf counts the declared fields of an object, and keeps the findings about the policy.
func partOf(policy string, declared int, findings []drift.Finding, losses []plan.Loss) part {
	p := part{count: count{declared: int32(declared)}}
	differing := int32(0)
	for _, finding := range findings {
		if finding.Policy != policy {
			continue
		}
		p.findings = append(p.findings, finding)
		if differs(finding.State) {
			differing++
		}
	}
	for _, loss := range losses {
		if loss.Policy == policy {
			p.losses = append(p.losses, loss)
		}
	}
	p.inSync = p.declared - min(p.declared, differing)
	return p
}

func (n notable) isEmpty() bool { return len(n.findings) == 0 && len(n.losses) == 0 && !n.oldRecord }

func (s *sum[K]) mark(key K) {
	if s.marked == nil {
		s.marked = map[K]bool{}
	}
	s.marked[key] = true
}

// takeMarked returns the marked objects, and marks none any more.
func (s *sum[K]) takeMarked() map[K]bool {
	marked := s.marked
	s.marked = nil
	return marked
}

// put replaces the part of an object.
func (s *sum[K]) put(key K, p part) {
	s.drop(key)
	if s.counts == nil {
		s.counts, s.notable = map[K]count{}, map[K]notable{}
	}
	s.counts[key] = p.count
	s.declared, s.inSync = s.declared+p.declared, s.inSync+p.inSync
	if !p.isEmpty() {
		s.notable[key] = p.notable
	}
}

// drop removes the part of an object that is gone, or is not selected any more.
func (s *sum[K]) drop(key K) {
	known := s.counts[key] // zero for an unknown object
	s.declared, s.inSync = s.declared-known.declared, s.inSync-known.inSync
	delete(s.counts, key)
	delete(s.notable, key)
}

// addTo adds the sum to a section of a report, in the order of the objects: a status must
// not change with the order in which a cache lists the objects.
func (s *sum[K]) addTo(section *report.Section, in *report.Input, order func(a, b K) int) {
	section.Declared += int(s.declared)
	section.InSync += int(s.inSync)
	for _, key := range slices.SortedFunc(maps.Keys(s.notable), order) {
		n := s.notable[key]
		section.Findings = append(section.Findings, n.findings...)
		in.Losses = append(in.Losses, n.losses...)
		in.OldRecordsLeft = in.OldRecordsLeft || n.oldRecord
	}
}

// differs tells whether a finding in the given state means that a field is not as declared.
func differs(is v1alpha1.DriftState) bool {
	switch is {
	case v1alpha1.StateNotApplicable, v1alpha1.StateEndpointsMissing, v1alpha1.StateForced:
		return false
	default:
		return true
	}
}

func countClaims(policy string, claims []plan.Claim) int {
	counted := 0
	for _, claim := range claims {
		if claim.Policy.Name == policy {
			counted++
		}
	}
	return counted
}
