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
	// contestedRounds is how often the same manager must have rewritten a repaired field.
	contestedRounds = 5
	// unnamedRounds is the number for changes without a manager, such as removals. Such changes
	// may come from several writers.
	unnamedRounds = 10
	// rowKept is how long a row waits for its next round. Tools that restore a declaration look
	// every few minutes, and some only every hour.
	rowKept = 6 * time.Hour
	// contestQuiet ends a contest: the field must stay as repaired for this time, and for
	// contestQuietGaps times the time between the last rounds. The latter is needed because
	// tools wait longer each time (Argo CD three times as long, up to five minutes). For a tool
	// that is known to return, the times are longer.
	contestQuiet         = 30 * time.Second
	contestQuietMost     = 30 * time.Minute
	contestQuietTool     = 15 * time.Minute
	contestQuietMostTool = 4 * time.Hour
	contestQuietGaps     = 4
	// rowsKept is how many rows one object may have, because writers can invent managers'
	// names.
	rowsKept = 16
)

// rowKey identifies a row: the same field rewritten by the same manager.
type rowKey struct{ field, manager string }

// row is the repeated drift of one field by one manager.
type row struct {
	finding Finding
	rounds  int
	last    time.Time
	gap     time.Duration // between the last rounds, roughly
	open    bool          // seen, and neither repaired nor gone since
	version string        // the object's version when the drift was last seen
}

// noVersion is the version of no object, so any version seen next is new.
const noVersion = "-"

// returns tells whether the manager restores a declaration of its own.
func (r *row) returns() bool { return r.finding.By.Declares || r.finding.By.Tool != "" }

// fought tells whether there were enough rounds for a contest. One round is enough if the
// manager is known to return.
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

// over tells whether the row may be forgotten: the wait for the next round was too long, or
// a contest with a manager that is not known to return has ended.
func (r *row) over(now time.Time) bool {
	ended := r.fought() && !r.contested(now) && !r.returns()
	return !r.open && (ended || now.Sub(r.last) >= rowKept)
}

// round counts another round.
func (r *row) round(now time.Time) {
	if r.rounds > 0 {
		r.gap = max(now.Sub(r.last), r.gap/2)
	}
	r.rounds, r.last = r.rounds+1, now
}

// see records one drift, and tells whether the drift is new.
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

// bounded shortens the finding's values to the length that reports use. Values of a
// NetworkPolicy can be long, and rows are kept for hours.
func bounded(f Finding) Finding {
	const most = 256
	f.Expected, f.Actual = strings.Clone(wording.Shorten(f.Expected, most)), strings.Clone(wording.Shorten(f.Actual, most))
	return f
}

// makeRoom drops the least important row if there are too many.
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

// close ends the rows without a drift in the latest version.
func (p *past) close(seen map[rowKey]bool) {
	for key, r := range p.rows {
		if !seen[key] {
			r.open, r.version = false, noVersion
		}
	}
}

// Resume continues, once for each policy, the contests in the policy's status, so that a
// restart of the operator does not end a contest. The quiet time so far and the time
// between rounds are unknown. A new generation of the policy resets all counts, because the
// change may have ended the contest.
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

// idle tells whether forgetting the object would lose no more than the count of a few
// rounds.
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
