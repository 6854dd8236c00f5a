// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"maps"
	"strings"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// When a field counts as contested, and for how long.
const (
	// contestedRounds is how often the same manager must have rewritten a repaired field.
	contestedRounds = 5
	// unnamedRounds is the number for changes without a manager, such as removals. Such changes
	// may come from several writers.
	unnamedRounds    = 10
	contestQuietGaps = 4
	// contestsKept is how many contests one object may have, because writers can invent managers'
	// names.
	contestsKept = 16
)

// contestKey identifies a contest: the same field rewritten by the same manager.
type contestKey struct{ field, manager string }

// contest is the repeated drift of one field by one manager.
type contest struct {
	finding Finding
	rounds  int
	last    time.Time
	gap     time.Duration // between the last rounds, roughly
	open    bool          // seen, and neither repaired nor gone since
	version string        // the object's version when the drift was last seen
}

// noVersion is the version of no object, so any version seen next is new.
const noVersion = "-"

// managerReturns tells whether the manager restores a declaration of its own.
func (r *contest) managerReturns() bool { return r.finding.By.Declares || r.finding.By.Tool != "" }

// hasEnoughRounds tells whether there were enough rounds for a contest. One round is enough if the
// manager is known to return.
func (r *contest) hasEnoughRounds() bool {
	switch {
	case r.managerReturns():
		return r.rounds >= 1
	case r.finding.By.Name == "":
		return r.rounds >= unnamedRounds
	}
	return r.rounds >= contestedRounds
}

// quietTime returns how long the field must stay as repaired for the contest to end.
func (r *contest) quietTime() time.Duration {
	least, most := timing.ContestQuiet, timing.ContestQuietMost
	if r.managerReturns() {
		least, most = timing.ContestQuietTool, timing.ContestQuietToolMost
	}
	return min(max(least, contestQuietGaps*r.gap), most)
}

func (r *contest) isContested(now time.Time) bool {
	return !r.finding.Unrepaired && r.hasEnoughRounds() && now.Sub(r.last) < r.quietTime()
}

// isOver tells whether the contest may be forgotten: the wait for the next round was too long, or
// a contest with a manager that is not known to return has ended.
func (r *contest) isOver(now time.Time) bool {
	ended := r.hasEnoughRounds() && !r.isContested(now) && !r.managerReturns()
	return !r.open && (ended || now.Sub(r.last) >= timing.ContestKept)
}

// countRound counts another round.
func (r *contest) countRound(now time.Time) {
	if r.rounds > 0 {
		r.gap = max(now.Sub(r.last), r.gap/2)
	}
	r.rounds, r.last = r.rounds+1, now
}

// recordDrift records one drift, and tells whether the drift is new.
func (p *past) recordDrift(key contestKey, finding Finding, version string, now time.Time) bool {
	r := p.contests[key]
	if r == nil || r.isOver(now) {
		r = &contest{}
		p.makeRoom()
		p.contests[key] = r
	}
	fresh := !r.open && (r.version != version || r.rounds == 0)
	r.finding, r.open, r.version = shortenValues(finding), true, version
	if fresh {
		r.countRound(now)
	}
	return fresh
}

// shortenValues shortens the finding's values to the length that reports use. Values of a
// NetworkPolicy can be long, and contests are kept for hours.
func shortenValues(f Finding) Finding {
	const most = 256
	f.Expected, f.Actual = strings.Clone(wording.Shorten(f.Expected, most)), strings.Clone(wording.Shorten(f.Actual, most))
	return f
}

// makeRoom drops the least important contest if there are too many.
func (p *past) makeRoom() {
	if len(p.contests) < contestsKept {
		return
	}
	var least *contest
	var of contestKey
	for key, r := range p.contests {
		older := least == nil || cmp.Or(cmp.Compare(r.rounds, least.rounds), r.last.Compare(least.last), cmp.Compare(key.manager, of.manager)) < 0
		if !r.open && older {
			least, of = r, key
		}
	}
	delete(p.contests, of)
}

// closeContests ends the contests without a drift in the latest version.
func (p *past) closeContests(seen map[contestKey]bool) {
	for key, r := range p.contests {
		if !seen[key] {
			r.open, r.version = false, noVersion
		}
	}
}

// ResumeContests continues, once for each policy, the contests in the policy's status, so that a
// restart of the operator does not end a contest. The quiet time so far and the time
// between rounds are unknown. A new generation of the policy resets all counts, because the
// change may have ended the contest.
func (h *History) ResumeContests(policy *plan.Policy, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if policy.Status.ObservedGeneration != policy.Generation {
		h.resumed[policy.Name] = true
		for _, p := range h.objects.all() {
			maps.DeleteFunc(p.contests, func(_ contestKey, r *contest) bool { return r.finding.Policy == policy.Name && !r.open })
		}
	}
	if !h.resumed[policy.Name] {
		h.resumed[policy.Name] = true
		h.resumeContests(policy.Name, policy.Status.Drift, now)
	}
}

func (h *History) resumeContests(policy string, told []v1alpha1.Drift, now time.Time) {
	for _, d := range told {
		if d.State != v1alpha1.StateContested {
			continue
		}
		finding := Finding{
			Policy: policy, Object: Object{d.Kind, d.Namespace, d.Name}, Field: d.Field, Cause: d.Cause,
			State: v1alpha1.StateDrifted, Expected: d.Expected, Actual: d.Actual, By: Manager{Name: d.Manager, Tool: tools[d.Manager]},
		}
		contests, key := h.pastOf(finding.Object).contests, contestKey{d.Field, d.Manager}
		if contests[key] == nil {
			contests[key] = &contest{finding: finding, last: now, version: noVersion}
		}
		contests[key].rounds, contests[key].gap = max(contests[key].rounds, unnamedRounds), timing.ContestQuietTool/contestQuietGaps
	}
}

// isInactive tells whether forgetting the object would lose no more than the count of a few
// rounds.
func (p *past) isInactive(now time.Time) bool {
	if len(p.failures) > 0 || len(p.unwritten) > 0 || p.written != nil || p.conflicts > 0 {
		return false
	}
	for _, r := range p.contests {
		if r.open || r.isContested(now) || now.Sub(r.last) < timing.ContestQuiet {
			return false
		}
	}
	return true
}
