// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// When a field counts as contested, and what follows.
const (
	// contestedRounds is how often in a row the same manager must have
	// rewritten the same field after it was repaired.
	contestedRounds = 10
	// contestQuiet ends a row: the field has stayed as repaired for so long.
	contestQuiet = 30 * time.Second
	// contestedInterval is the least time between two writes to an object with
	// a contested field.
	contestedInterval = time.Second
)

// unseenFor is how long the cache may go on showing an object as it was before
// a write, until it is written again.
const unseenFor = time.Second

// History remembers what happened to objects lately: drift that was seen and
// repaired, writes that failed, fields that are fought over. It feeds counters,
// events and the pace of repairs. It is never the truth about an object, which
// is always compared afresh; after a restart it begins empty. It is safe for
// concurrent use.
type History struct {
	mu       sync.Mutex
	objects  map[Object]*past
	policies map[string]*tally
}

// past is what is remembered of one object.
type past struct {
	rows      map[rowKey]*row
	failures  map[string]string // by policy
	conflicts int               // in a row
	lastWrite time.Time
	written   *string  // the version that it was decided on, until it is seen
	policies  []string // for which it was
}

func (h *History) past(object Object) *past {
	p := h.objects[object]
	if p == nil {
		p = &past{rows: map[rowKey]*row{}, failures: map[string]string{}}
		h.objects[object] = p
	}
	return p
}

// rowKey identifies a row: the same field rewritten by the same manager.
type rowKey struct{ field, manager string }

// row is drift of one field by one manager, again and again.
type row struct {
	finding Finding
	rounds  int
	last    time.Time
	open    bool   // seen, and neither repaired nor gone since
	version string // of the object when it was last seen
}

// noVersion is the version of no object: whatever is seen next is new.
const noVersion = "-"

func (r *row) contested(now time.Time) bool {
	return r.rounds >= contestedRounds && now.Sub(r.last) < contestQuiet
}

// tally is what a policy's next report will tell.
type tally struct {
	count    int
	last     *Finding
	lastTime time.Time
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{objects: map[Object]*past{}, policies: map[string]*tally{}}
}

// Observe takes note of what was found in one version of an object. It returns
// the drift that was not seen before, and how long to wait before the object
// may be written: nothing, unless a field of it is contested.
func (h *History) Observe(object Object, version string, findings []Finding, now time.Time) (fresh []Finding, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	seen := map[rowKey]bool{}
	for _, finding := range findings {
		if finding.State != v1alpha1.StateDrifted {
			continue
		}
		p = h.past(object)
		key := rowKey{finding.Field, finding.By.Name}
		seen[key] = true
		if p.see(key, finding, version, now) {
			fresh = append(fresh, finding)
		}
		if p.rows[key].contested(now) {
			wait = max(wait, p.lastWrite.Add(contestedInterval).Sub(now))
		}
	}
	if p != nil {
		p.close(seen)
		h.sweep(object, now)
	}
	return fresh, wait
}

// see takes note of one drift, and says whether it is a new one.
func (p *past) see(key rowKey, finding Finding, version string, now time.Time) bool {
	r := p.rows[key]
	if r == nil || now.Sub(r.last) >= contestQuiet && !r.open {
		r = &row{}
		p.rows[key] = r
	}
	fresh := !r.open && (r.version != version || r.rounds == 0)
	r.finding, r.open, r.version = finding, true, version
	if fresh {
		r.rounds, r.last = r.rounds+1, now
	}
	return fresh
}

// close ends the rows that are not seen any more.
func (p *past) close(seen map[rowKey]bool) {
	for key, r := range p.rows {
		if !seen[key] {
			r.open, r.version = false, noVersion
		}
	}
}

// Corrected takes note that findings of an object were repaired.
func (h *History) Corrected(object Object, findings []Finding, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.objects[object]; p != nil {
		p.lastWrite = now
		clear(p.failures)
		for _, r := range p.rows {
			r.open = false
			if r.version == "" { // a missing object has no version to tell it by
				r.version = noVersion
			}
		}
	}
	for _, finding := range findings {
		if finding.State != v1alpha1.StateDrifted {
			continue
		}
		t := h.policies[finding.Policy]
		if t == nil {
			t = &tally{}
			h.policies[finding.Policy] = t
		}
		t.count++
		t.last, t.lastTime = &finding, now
	}
}

// Failed takes note that writing an object for some policies failed.
func (h *History) Failed(object Object, policies []string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.past(object)
	for _, policy := range policies {
		p.failures[policy] = err.Error()
	}
}

// Wrote takes note that an object was written for some policies, by a decision
// that was made on this version of it.
func (h *History) Wrote(object Object, version string, policies []string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.past(object)
	p.written, p.policies, p.lastWrite, p.conflicts = &version, policies, now, 0
}

// Unseen returns how long to wait, at most, for the cache to show what was
// written: nothing, unless this version of the object is the one that the last
// write was decided on. Deciding on it again would be the same write again.
func (h *History) Unseen(object Object, version string, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	if p == nil || p.written == nil {
		return 0
	}
	if *p.written == version {
		return max(0, p.lastWrite.Add(unseenFor).Sub(now))
	}
	p.written = nil
	return 0
}

// Behind says whether the cache still shows the version of an object that its
// last write was decided on. What differs in it was told then, and is no drift
// since.
func (h *History) Behind(object Object, version string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	return p != nil && p.written != nil && *p.written == version
}

// Conflicted takes note that a write was refused because the object had changed
// meanwhile, and returns how often that has been so in a row.
func (h *History) Conflicted(object Object) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.past(object)
	p.conflicts++
	return p.conflicts
}

// Settled takes note that there is nothing to write to an object any more, and
// returns the policies for which it could not be written before.
func (h *History) Settled(object Object, now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects[object]
	if p == nil {
		return nil
	}
	relieved := slices.Sorted(maps.Keys(p.failures))
	p.settle()
	h.sweep(object, now)
	return relieved
}

func (p *past) settle() {
	clear(p.failures)
	p.written, p.policies, p.conflicts = nil, nil, 0
}

// Differing takes note that, of all objects of a kind, only these differ from
// what a policy declares. The others are settled.
func (h *History) Differing(policy, kind string, objects []Object, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for object, p := range h.objects {
		if object.Kind != kind || slices.Contains(objects, object) || !p.concerns(policy) {
			continue
		}
		p.close(nil)
		p.settle()
		h.sweep(object, now)
	}
}

func (p *past) concerns(policy string) bool {
	_, failed := p.failures[policy]
	if failed || slices.Contains(p.policies, policy) {
		return true
	}
	for _, r := range p.rows {
		if r.finding.Policy == policy {
			return true
		}
	}
	return false
}

// sweep forgets an object of which nothing is worth remembering.
func (h *History) sweep(object Object, now time.Time) {
	p := h.objects[object]
	maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return !r.open && now.Sub(r.last) >= contestQuiet })
	if len(p.rows) == 0 && len(p.failures) == 0 && p.written == nil && p.conflicts == 0 {
		delete(h.objects, object)
	}
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
			left := contestQuiet - now.Sub(r.last)
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

// Forget drops what is remembered of a policy that is gone.
func (h *History) Forget(policy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.policies, policy)
	for object, p := range h.objects {
		delete(p.failures, policy)
		maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return r.finding.Policy == policy })
		if len(p.rows) == 0 && len(p.failures) == 0 {
			delete(h.objects, object)
		}
	}
}
