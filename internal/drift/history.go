// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

const (
	// objectsKept is how many objects are remembered for hours. Beyond objectsKept, inactive
	// objects are forgotten after timing.ContestQuiet.
	objectsKept = 2048
)

// History remembers recent events of objects: drift seen and repaired, failed writes,
// contested fields. Counters, events and the pace of repairs depend on the history. The
// history is never the truth about an object, because every comparison reads the object
// again. The history is empty after a restart, and is safe for concurrent use.
type History struct {
	mu       sync.Mutex
	objects  pasts
	policies map[string]*tally
	resumed  map[string]bool // policies whose status was read once
	crowded  time.Time       // when objects were last forgotten because there were many
	done     map[Object]writeMemory
	touched  map[Object]bool // see TakeTouched
}

// past is the memory of one object.
type past struct {
	contests  map[contestKey]*contest
	failures  map[string]string // by policy
	failing   time.Time         // since when there are any
	conflicts int               // in a row
	unwritten map[string]bool   // see RecordUnwritten; true if written since
	lastWrite time.Time
	written   *string  // the version behind the last write, until a newer version is seen
	policies  []string // the policies of the last write
}

func (h *History) pastOf(object Object) *past {
	p := h.objects.get(object)
	if p == nil {
		p = &past{contests: map[contestKey]*contest{}, failures: map[string]string{}}
		h.objects.put(object, p)
	}
	return p
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{
		objects: pasts{}, policies: map[string]*tally{}, resumed: map[string]bool{}, done: map[Object]writeMemory{},
		touched: map[Object]bool{},
	}
}

// Observe records the findings in one version of an object. The results are the new drift
// and how long to wait before writing the object; the wait is 0 unless a field is
// contested.
func (h *History) Observe(object Object, version string, findings []Finding, now time.Time) (fresh []Finding, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.objects.get(object)
	seen := map[contestKey]bool{}
	for _, finding := range findings {
		if finding.State != v1alpha1.StateDrifted {
			continue
		}
		p = h.pastOf(object)
		key := contestKey{finding.Field, finding.By.Name}
		seen[key] = true
		if p.recordDrift(key, finding, version, now) {
			fresh = append(fresh, finding)
		}
		if p.contests[key].isContested(now) {
			wait = max(wait, p.lastWrite.Add(timing.ContestedInterval).Sub(now))
		}
	}
	if p != nil {
		p.closeContests(seen)
		h.sweepObject(object, now)
		h.forgetInactive(now)
	}
	return fresh, wait
}

// RecordRepair records the repair of an object's findings.
func (h *History) RecordRepair(object Object, findings []Finding, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.objects.get(object); p != nil {
		p.lastWrite = now
		clear(p.failures)
		for _, r := range p.contests {
			r.open = false
			if r.version == "" { // a missing object has no version
				r.version = noVersion
			}
		}
	}
	for _, finding := range findings {
		if finding.State != v1alpha1.StateDrifted {
			continue
		}
		t := h.tallyOf(finding.Policy)
		t.count++
		t.last, t.lastTime = &finding, now
	}
}

// sweepObject forgets an object without anything worth remembering.
func (h *History) sweepObject(object Object, now time.Time) {
	p := h.objects.get(object)
	maps.DeleteFunc(p.contests, func(_ contestKey, r *contest) bool { return r.isOver(now) })
	if len(p.contests) == 0 && len(p.failures) == 0 && len(p.unwritten) == 0 && p.written == nil && p.conflicts == 0 {
		h.objects.remove(object)
	}
}

// forgetInactive forgets inactive objects if there are many objects.
func (h *History) forgetInactive(now time.Time) {
	if h.objects.count() <= objectsKept || now.Sub(h.crowded) < timing.ContestQuiet {
		return
	}
	h.crowded = now
	for object, p := range h.objects.all() {
		if p.isInactive(now) {
			h.objects.remove(object)
		}
	}
}

// ForgetPolicy drops the memory of a deleted policy.
func (h *History) ForgetPolicy(policy string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.policies, policy)
	delete(h.resumed, policy)
	h.forgetWrites(policy)
	for object, p := range h.objects.all() {
		delete(p.failures, policy)
		maps.DeleteFunc(p.contests, func(_ contestKey, r *contest) bool { return r.finding.Policy == policy })
		if len(p.contests) == 0 && len(p.failures) == 0 && len(p.unwritten) == 0 {
			h.objects.remove(object)
		}
	}
}
