// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

const (
	// contestedInterval is the least time between two writes to an object with
	// a contested field.
	contestedInterval = time.Second
	// objectsKept is how many objects are remembered for hours. Of more, those
	// that nothing is going on with are forgotten after contestQuiet.
	objectsKept = 2048
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
	resumed  map[string]bool // the policies whose status has been looked at once
	crowded  time.Time       // when objects were last forgotten because there were many
	done     map[Object]deeds
}

// past is what is remembered of one object.
type past struct {
	rows      map[rowKey]*row
	failures  map[string]string // by policy
	failing   time.Time         // since when there are any
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

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{
		objects: map[Object]*past{}, policies: map[string]*tally{}, resumed: map[string]bool{}, done: map[Object]deeds{},
	}
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
		h.thin(now)
	}
	return fresh, wait
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
		t := h.tally(finding.Policy)
		t.count++
		t.last, t.lastTime = &finding, now
	}
}

// sweep forgets an object of which nothing is worth remembering.
func (h *History) sweep(object Object, now time.Time) {
	p := h.objects[object]
	maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return r.over(now) })
	if len(p.rows) == 0 && len(p.failures) == 0 && p.written == nil && p.conflicts == 0 {
		delete(h.objects, object)
	}
}

// thin forgets objects of which little is worth remembering, if there are many.
func (h *History) thin(now time.Time) {
	if len(h.objects) <= objectsKept || now.Sub(h.crowded) < contestQuiet {
		return
	}
	h.crowded = now
	maps.DeleteFunc(h.objects, func(_ Object, p *past) bool { return p.idle(now) })
}

// Forget drops what is remembered of a policy that is gone.
func (h *History) Forget(policy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.policies, policy)
	delete(h.resumed, policy)
	h.forgetDeeds(policy)
	for object, p := range h.objects {
		delete(p.failures, policy)
		maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return r.finding.Policy == policy })
		if len(p.rows) == 0 && len(p.failures) == 0 {
			delete(h.objects, object)
		}
	}
}
