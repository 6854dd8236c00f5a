// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
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

// sweep forgets an object of which nothing is worth remembering.
func (h *History) sweep(object Object, now time.Time) {
	p := h.objects[object]
	maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return !r.open && now.Sub(r.last) >= contestQuiet })
	if len(p.rows) == 0 && len(p.failures) == 0 && p.written == nil && p.conflicts == 0 {
		delete(h.objects, object)
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
