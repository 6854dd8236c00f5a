// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// tally is what a policy's next report will tell.
type tally struct {
	count    int
	last     *Finding
	lastTime time.Time
	releases Releases
}

func (h *History) tally(policy string) *tally {
	t := h.policies[policy]
	if t == nil {
		t = &tally{}
		h.policies[policy] = t
	}
	return t
}

// Summary is what the history has to tell of one policy.
type Summary struct {
	// Contested are the fields that are fought over, sorted. They count as
	// such also at the moments when they are as declared.
	Contested []Finding
	// Quiet is when the first of them may stop being contested.
	Quiet time.Duration
	// Failures are the objects that could not be written, with the error,
	// sorted.
	Failures []string
	// Count is how many repairs there were since the last acknowledged summary.
	Count int
	// Last is the latest repair of all, and LastTime when it was.
	Last     *Finding
	LastTime time.Time
}

// Summary returns what there is to tell of a policy, and forgets on the way
// what is long over.
func (h *History) Summary(policy string, now time.Time) Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	var s Summary
	for object, p := range h.objects {
		if text, failed := p.failures[policy]; failed {
			s.Failures = append(s.Failures, object.String()+": "+text)
		}
		for _, r := range p.rows {
			if r.finding.Policy != policy || !r.contested(now) {
				continue
			}
			finding := r.finding
			finding.State = v1alpha1.StateContested
			s.Contested = append(s.Contested, finding)
			left := r.quiet() - now.Sub(r.last)
			if s.Quiet == 0 || left < s.Quiet {
				s.Quiet = left
			}
		}
		h.sweep(object, now)
	}
	slices.Sort(s.Failures)
	slices.SortFunc(s.Contested, Compare)
	if t := h.policies[policy]; t != nil {
		s.Count, s.Last, s.LastTime = t.count, t.last, t.lastTime
	}
	return s
}

// Acknowledge takes note that a summary's repairs have been reported.
func (h *History) Acknowledge(policy string, reported Summary) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.policies[policy]; t != nil {
		t.count -= reported.Count
	}
}

// Releases are what there is to tell of fields that policies let go, and of records.
type Releases struct {
	// Restored is how many got back what was there before, and Last the last of them.
	Restored int
	Last     Finding
	// Kept stay as they are because others hold them too; NotRestored could not be restored;
	// Replaced are records that were not believed, or, with a Cause, not what the operator
	// remembers. Each has at most 16.
	Kept, NotRestored, Replaced []Finding
}

// maxTold is how many single fields are told of at once.
const maxTold = 16

func addTold(told *[]Finding, f Finding) {
	if len(*told) < maxTold {
		*told = append(*told, f)
	}
}

// Released takes note of what an outcome released, once that is written.
func (h *History) Released(outcome Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range outcome.Restored {
		t := h.tally(f.Policy)
		t.releases.Restored++
		t.releases.Last = f
	}
	for _, f := range outcome.Kept {
		addTold(&h.tally(f.Policy).releases.Kept, f)
	}
	for _, f := range outcome.Replaced {
		addTold(&h.tally(f.Policy).releases.Replaced, f)
	}
}

// NotRestored takes note of fields that could not be restored.
func (h *History) NotRestored(fields []Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range fields {
		addTold(&h.tally(f.Policy).releases.NotRestored, f)
	}
}

// TakeReleases returns what there is to tell of a policy's releases, once.
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
		slices.SortFunc(told, Compare)
	}
	return releases
}
