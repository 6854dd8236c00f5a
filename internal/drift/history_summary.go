// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// tally is the content of a policy's next report.
type tally struct {
	count    int
	last     *Finding
	lastTime time.Time
	releases Releases
}

func (h *History) tallyOf(policy string) *tally {
	t := h.policies[policy]
	if t == nil {
		t = &tally{}
		h.policies[policy] = t
	}
	return t
}

// Summary is the history of one policy.
type Summary struct {
	// Contested are the sorted contested fields. A contested field counts even at a moment when
	// the field is as declared.
	Contested []Finding
	// Quiet is the time until the first field may stop being contested.
	Quiet time.Duration
	// Failures are the objects with failed writes and the errors, sorted.
	Failures []string
	// Count is how many repairs there were since the last acknowledged summary.
	Count int
	// Last is the latest repair, and LastTime the time of the repair.
	Last     *Finding
	LastTime time.Time
}

// Summarize returns the summary of a policy, and forgets old events.
func (h *History) Summarize(policy string, now time.Time) Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	var s Summary
	for object, p := range h.objects.all() {
		if text, failed := p.failures[policy]; failed {
			s.Failures = append(s.Failures, object.String()+": "+text)
		}
		for _, r := range p.contests {
			if r.finding.Policy != policy || !r.isContested(now) {
				continue
			}
			finding := r.finding
			finding.State = v1alpha1.StateContested
			s.Contested = append(s.Contested, finding)
			left := r.quietTime() - now.Sub(r.last)
			if s.Quiet == 0 || left < s.Quiet {
				s.Quiet = left
			}
		}
		h.sweepObject(object, now)
	}
	slices.Sort(s.Failures)
	slices.SortFunc(s.Contested, CompareFindings)
	if t := h.policies[policy]; t != nil {
		s.Count, s.Last, s.LastTime = t.count, t.last, t.lastTime
	}
	return s
}

// AcknowledgeSummary records that a summary's repairs have been reported.
func (h *History) AcknowledgeSummary(policy string, reported Summary) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.policies[policy]; t != nil {
		t.count -= reported.Count
	}
}

// Releases are the events about released fields and replaced records.
type Releases struct {
	// Restored counts the fields with a restored original, and Last is the latest.
	Restored int
	Last     Finding
	// Kept are fields that stay unchanged because another manager holds the field too.
	// NotRestored are fields that could not be restored. Replaced are distrusted records; a
	// finding with a Cause is about a record in contradiction to the operator's memory. Each
	// list has at most 16 findings.
	Kept, NotRestored, Replaced []Finding
}

// maxTold is how many single fields are told of at once.
const maxTold = 16

func addTold(told *[]Finding, f Finding) {
	if len(*told) < maxTold {
		*told = append(*told, f)
	}
}

// RecordReleases records the releases of a written outcome.
func (h *History) RecordReleases(outcome Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range outcome.Restored {
		t := h.tallyOf(f.Policy)
		t.releases.Restored++
		t.releases.Last = f
	}
	for _, f := range outcome.Kept {
		addTold(&h.tallyOf(f.Policy).releases.Kept, f)
	}
	for _, f := range outcome.Replaced {
		addTold(&h.tallyOf(f.Policy).releases.Replaced, f)
	}
}

// RecordNotRestored records the fields that could not be restored.
func (h *History) RecordNotRestored(fields []Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range fields {
		addTold(&h.tallyOf(f.Policy).releases.NotRestored, f)
	}
}

// TakeReleases returns a policy's releases, and forgets them.
func (h *History) TakeReleases(policy string) Releases {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.policies[policy]
	if t == nil {
		return Releases{}
	}
	releases := t.releases
	t.releases = Releases{}
	for _, told := range [][]Finding{releases.Kept, releases.NotRestored, releases.Replaced} {
		slices.SortFunc(told, CompareFindings)
	}
	return releases
}
