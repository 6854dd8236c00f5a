// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

// Write is one write of a sequence: of an object as it will then be, labels of
// others included, or of its deletion.
type Write struct {
	Object calico.Object
	Delete bool
}

func (w Write) String() string {
	what := "write"
	if w.Delete {
		what = "deletion"
	}
	object := drift.ObjectOf(w.Object) // an object from a cache does not say its kind
	return fmt.Sprintf("%s of %s %s", what, object.Kind, object.Name)
}

// Sequence returns what is written for the difference, in that order. What
// somebody else has decided about is not written.
func WritesOf(diff drift.Diff) []Write {
	var out []Write
	for _, w := range slices.Concat(diff.Writes, diff.Removals) {
		if w.Conflicted() {
			continue
		}
		object, gone := w.Result()
		out = append(out, Write{Object: object, Delete: gone})
	}
	return out
}

// Cut is a required flow that is cut, or may be.
type Cut struct {
	// Name is that of the required flow.
	Name string
	// Flow is an example of what is cut, to Flow.Node.
	Flow    dataplane.Flow
	Verdict dataplane.Verdict
	// After names the write after which it is so, such as "write of HostEndpoint
	// cpnp-cp-1"; empty if it is so already.
	AfterWrite string
}

// unsure says whether it cannot be told what becomes of the flow.
func (c Cut) isUncertain() bool { return c.Verdict.Decision == dataplane.Unknown }

func (c Cut) String() string {
	if c.isUncertain() {
		when := "now"
		if c.AfterWrite != "" {
			when = "after the " + c.AfterWrite
		}
		return fmt.Sprintf("%s: it is not known what becomes of %s %s: %s", c.Name, c.Flow, when, c.Verdict.Reason)
	}
	when := fmt.Sprintf("is %s already", c.Verdict.Decision)
	if c.AfterWrite != "" {
		when = fmt.Sprintf("would be %s after the %s", c.Verdict.Decision, c.AfterWrite)
	}
	return fmt.Sprintf("%s: %s %s: %s", c.Name, c.Flow, when, c.Verdict.Reason)
}

// LockoutReport tells the required flows that the writes would cut from those
// that are cut anyway. What is cut already and healed by the writes is in
// neither list.
type LockoutReport struct {
	// Cuts are flows that the writes would cut: of the first state after a write
	// in which there are some. Something worse becomes of such a flow than
	// before any write: it is not Allowed any more, or Denied though that was
	// not known for sure.
	Cuts []Cut
	// Already are flows that are cut by what is there, and still are after the
	// last write. They are not looked for where there are Cuts.
	AlreadyCut []Cut
}

// Lockout finds the required flows that would be cut after any of the writes, in
// their order, and those that are cut already.
//
// Every sender of a required flow is held against everybody whom it is for, in both
// IP versions, where it leaves and where it comes in, if one of them is a protected
// node; and every protected node against itself. Those whom no policy can tell apart
// are judged once.
func CheckLockout(lines plan.Lifelines, nodes []dataplane.Node, live state.Calico, writes []Write) LockoutReport {
	l := &lockoutCheck{lines: lines, live: live, world: dataplane.NewWorld(live, nodes)}
	l.copyLists()
	report := LockoutReport{AlreadyCut: l.findCuts()}
	if len(report.AlreadyCut) > 0 {
		l.initialWorld, l.initialClasses = l.world, l.world.BuildClasses()
		l.world = dataplane.NewWorld(l.live, nodes)
	}
	for _, write := range writes {
		matters := l.canChangeFlows(write)
		l.applyWrite(write)
		if !matters {
			continue
		}
		l.world.ReplaceObjects(l.live)
		cuts, already := l.separateNewCuts(l.findCuts(), write)
		if len(cuts) > 0 {
			return LockoutReport{Cuts: cuts}
		}
		report.AlreadyCut = already
	}
	report.AlreadyCut = slices.DeleteFunc(report.AlreadyCut, l.isUnknownElsewhere)
	return report
}

// elsewhere says whether it is only not known what becomes of a flow at a node that
// is not protected: nobody here has changed that, nor will.
func (l *lockoutCheck) isUnknownElsewhere(cut Cut) bool {
	return cut.Verdict.Decision == dataplane.Unknown && !l.lines.Protected[cut.Verdict.Reason.Node]
}

// lockout is the set of policies as it is at one point of the sequence.
type lockoutCheck struct {
	lines plan.Lifelines
	live  state.Calico
	world *dataplane.World // as of the last write that could change something
	// before is the world before any write, and told what it tells apart. Both
	// are nil if nothing is cut there: then the writes cut whatever is cut later.
	initialWorld   *dataplane.World
	initialClasses *dataplane.Classes
}

func (l *lockoutCheck) copyLists() {
	l.live.Tiers, l.live.Policies = slices.Clone(l.live.Tiers), slices.Clone(l.live.Policies)
	l.live.Sets, l.live.Endpoints = slices.Clone(l.live.Sets), slices.Clone(l.live.Endpoints)
	l.live.Felix = slices.Clone(l.live.Felix)
}

// split tells what is cut after a write, and was not before any, from what was
// cut already.
func (l *lockoutCheck) separateNewCuts(all []Cut, write Write) (cuts, already []Cut) {
	for _, cut := range all {
		if l.initialWorld != nil && !isWorse(cut.Verdict.Decision, l.initialWorld.DecisionOn(cut.Flow)) {
			already = append(already, cut)
			continue
		}
		cut.AfterWrite = write.String()
		cuts = append(cuts, cut)
	}
	return cuts, already
}

// worse says whether a decision is worse for a flow than the one before. What
// was Unknown may have been let through.
func isWorse(now, before dataplane.Decision) bool {
	return now != before && (before == dataplane.Allowed || now == dataplane.Denied)
}

// notices says whether a write can change what becomes of a flow: a set of
// addresses does so only if a rule that is in force stands for it, or stood for
// what is there.
func (l *lockoutCheck) canChangeFlows(write Write) bool {
	set, is := write.Object.(*v3.GlobalNetworkSet)
	return !is || l.world.AnyRuleSelects(set.Labels) || slices.ContainsFunc(l.live.Sets, func(s v3.GlobalNetworkSet) bool {
		return s.Name == set.Name && l.world.AnyRuleSelects(s.Labels)
	})
}

func (l *lockoutCheck) applyWrite(w Write) {
	switch o := w.Object.(type) {
	case *v3.Tier:
		l.live.Tiers = putOrRemove(l.live.Tiers, *o, w.Delete, func(t *v3.Tier) string { return t.Name })
	case *v3.GlobalNetworkPolicy:
		l.live.Policies = putOrRemove(l.live.Policies, *o, w.Delete, func(p *v3.GlobalNetworkPolicy) string { return p.Name })
	case *v3.GlobalNetworkSet:
		l.live.Sets = putOrRemove(l.live.Sets, *o, w.Delete, func(s *v3.GlobalNetworkSet) string { return s.Name })
	case *v3.HostEndpoint:
		l.live.Endpoints = putOrRemove(l.live.Endpoints, *o, w.Delete, func(e *v3.HostEndpoint) string { return e.Name })
	case *v3.FelixConfiguration:
		l.live.Felix = putOrRemove(l.live.Felix, *o, w.Delete, func(f *v3.FelixConfiguration) string { return f.Name })
	}
}

// put puts an item in the place of the one of its name, or takes that out.
func putOrRemove[T any](list []T, item T, remove bool, name func(*T) string) []T {
	i := slices.IndexFunc(list, func(other T) bool { return name(&other) == name(&item) })
	switch {
	case i < 0 && remove:
	case i < 0:
		list = append(list, item)
	case remove:
		list = slices.Delete(list, i, i+1)
	default:
		list[i] = item
	}
	return list
}

// After returns what there is of Calico once all of the writes have been made.
func StateAfter(live state.Calico, writes []Write) state.Calico {
	l := &lockoutCheck{live: live}
	l.copyLists()
	for _, write := range writes {
		l.applyWrite(write)
	}
	return l.live
}

// check judges all required flows in one state, and returns what is cut.
//
// Where something was cut before, classes are of both worlds: one who was cut off
// must not stand for others who were not.
func (l *lockoutCheck) findCuts() []Cut {
	c := l.world.BuildClasses()
	if l.initialClasses != nil {
		c = c.CombineWith(l.initialClasses)
	}
	j := &flowJudge{world: l.world, classes: c, lines: l.lines, parties: map[party][]*dataplane.Group{}}
	for _, flow := range l.lines.Flows {
		j.judgeFlow(flow)
	}
	return j.cuts
}
