// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"maps"
	"strings"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// When a field counts as contested, and for how long.
const (
	// contestedRounds is how often the same manager must have rewritten the same
	// field after it was repaired.
	contestedRounds = 5
	// unnamedRounds is how often, where nobody's name is on it, as with what was
	// removed: that may have been many.
	unnamedRounds = 10
	// rowKept is how long a row waits for its next round. Tools that put back what
	// is declared elsewhere look every few minutes, some every hour.
	rowKept = 6 * time.Hour
	// contestQuiet ends a contest: the field has stayed as repaired for so long, and
	// for so many times as long as it did between the last rounds, since such tools
	// wait ever longer (Argo CD three times as long each time, up to five minutes).
	// Whoever is known to come again is waited for longer.
	contestQuiet         = 30 * time.Second
	contestQuietMost     = 30 * time.Minute
	contestQuietTool     = 15 * time.Minute
	contestQuietMostTool = 4 * time.Hour
	contestQuietGaps     = 4
	// rowsKept is how many rows are kept of one object: names of managers are
	// anybody's to invent.
	rowsKept = 16
)

// rowKey identifies a row: the same field rewritten by the same manager.
type rowKey struct{ field, manager string }

// row is drift of one field by one manager, again and again.
type row struct {
	finding Finding
	rounds  int
	last    time.Time
	gap     time.Duration // between the last rounds, roughly
	open    bool          // seen, and neither repaired nor gone since
	version string        // of the object when it was last seen
}

// noVersion is the version of no object: whatever is seen next is new.
const noVersion = "-"

// returns says whether the other side puts back what is declared elsewhere.
func (r *row) returns() bool { return r.finding.By.Declares || r.finding.By.Tool != "" }

// fought says whether there have been enough rounds. One by whoever comes again in
// any case is enough.
func (r *row) fought() bool {
	switch {
	case r.returns():
		return r.rounds >= 1
	case r.finding.By.Name == "":
		return r.rounds >= unnamedRounds
	}
	return r.rounds >= contestedRounds
}

// quiet returns how long the field must stay as repaired for the contest to end.
func (r *row) quiet() time.Duration {
	least, most := contestQuiet, contestQuietMost
	if r.returns() {
		least, most = contestQuietTool, contestQuietMostTool
	}
	return min(max(least, contestQuietGaps*r.gap), most)
}

func (r *row) contested(now time.Time) bool { return r.fought() && now.Sub(r.last) < r.quiet() }

// over says whether nothing of the row counts any more: it waited too long for its
// next round; or it was a contest that has ended, and who fought it is not one who
// comes again.
func (r *row) over(now time.Time) bool {
	ended := r.fought() && !r.contested(now) && !r.returns()
	return !r.open && (ended || now.Sub(r.last) >= rowKept)
}

// round counts one more.
func (r *row) round(now time.Time) {
	if r.rounds > 0 {
		r.gap = max(now.Sub(r.last), r.gap/2)
	}
	r.rounds, r.last = r.rounds+1, now
}

// see takes note of one drift, and says whether it is a new one.
func (p *past) see(key rowKey, finding Finding, version string, now time.Time) bool {
	r := p.rows[key]
	if r == nil || r.over(now) {
		r = &row{}
		p.makeRoom()
		p.rows[key] = r
	}
	fresh := !r.open && (r.version != version || r.rounds == 0)
	r.finding, r.open, r.version = bounded(finding), true, version
	if fresh {
		r.round(now)
	}
	return fresh
}

// bounded returns the finding with no more of its values than is told: those of a
// NetworkPolicy can be long, and rows are kept for hours.
func bounded(f Finding) Finding {
	const most = 256
	f.Expected, f.Actual = strings.Clone(wording.Shorten(f.Expected, most)), strings.Clone(wording.Shorten(f.Actual, most))
	return f
}

// makeRoom drops the row that says least, if there are too many.
func (p *past) makeRoom() {
	if len(p.rows) < rowsKept {
		return
	}
	var least *row
	var of rowKey
	for key, r := range p.rows {
		older := least == nil || cmp.Or(cmp.Compare(r.rounds, least.rounds), r.last.Compare(least.last), cmp.Compare(key.manager, of.manager)) < 0
		if !r.open && older {
			least, of = r, key
		}
	}
	delete(p.rows, of)
}

// close ends the rows that are not seen any more.
func (p *past) close(seen map[rowKey]bool) {
	for key, r := range p.rows {
		if !seen[key] {
			r.open, r.version = false, noVersion
		}
	}
}

// Resume takes note, once for each policy, of what its status tells to be
// contested: a fight goes on when the operator is started anew. How long it has
// been quiet is not known, nor how long it was between the rounds. With a new
// generation of the policy all counts begin anew: it may have ended the fight.
func (h *History) Resume(policy *plan.Policy, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if policy.Status.ObservedGeneration != policy.Generation {
		h.resumed[policy.Name] = true
		for _, p := range h.objects {
			maps.DeleteFunc(p.rows, func(_ rowKey, r *row) bool { return r.finding.Policy == policy.Name && !r.open })
		}
	}
	if !h.resumed[policy.Name] {
		h.resumed[policy.Name] = true
		h.resume(policy.Name, policy.Status.Drift, now)
	}
}

func (h *History) resume(policy string, told []v1alpha1.Drift, now time.Time) {
	for _, d := range told {
		if d.State != v1alpha1.StateContested {
			continue
		}
		finding := Finding{
			Policy: policy, Object: Object{d.Kind, d.Namespace, d.Name}, Field: d.Field, Cause: d.Cause,
			State: v1alpha1.StateDrifted, Expected: d.Expected, Actual: d.Actual, By: Manager{Name: d.Manager, Tool: tools[d.Manager]},
		}
		rows, key := h.past(finding.Object).rows, rowKey{d.Field, d.Manager}
		if rows[key] == nil {
			rows[key] = &row{finding: finding, last: now, version: noVersion}
		}
		rows[key].rounds, rows[key].gap = max(rows[key].rounds, unnamedRounds), contestQuietTool/contestQuietGaps
	}
}

// idle says whether nothing is lost but the count of a few rounds if the object is
// forgotten.
func (p *past) idle(now time.Time) bool {
	if len(p.failures) > 0 || p.written != nil || p.conflicts > 0 {
		return false
	}
	for _, r := range p.rows {
		if r.open || r.contested(now) || now.Sub(r.last) < contestQuiet {
			return false
		}
	}
	return true
}
