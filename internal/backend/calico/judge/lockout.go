// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"fmt"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// Write is one write of a sequence: an object as stored afterwards, including labels
// from other writers, or a deletion.
type Write struct {
	Object backend.Object
	Delete bool
}

func (w Write) String() string {
	what := "write"
	if w.Delete {
		what = "deletion"
	}
	object := drift.ObjectOf(w.Object) // an object from a cache has no kind
	return fmt.Sprintf("%s of %s %s", what, object.Kind, object.Name)
}

// WritesOf returns the writes for a diff, in order. The operator never makes conflicted
// writes, so that these are left out.
func WritesOf(diff drift.Diff) []Write {
	var out []Write
	for _, w := range slices.Concat(diff.Writes, diff.Removals) {
		if w.IsConflicted() {
			continue
		}
		object, gone := resultOf(w)
		out = append(out, Write{Object: object, Delete: gone})
	}
	return out
}

// Cut is a required flow that is cut, or may be cut.
type Cut struct {
	// Name is the name of the required flow.
	Name string
	// Flow is an example of the cut traffic, to Flow.Node.
	Flow    dataplane.Flow
	Verdict dataplane.Verdict
	// AfterWrite names the cutting write, such as "write of HostEndpoint cpnp-cp-1";
	// empty if the flow is cut already.
	AfterWrite string
}

// isUncertain says whether the decision about the flow is unknown.
func (c Cut) isUncertain() bool { return c.Verdict.Decision == dataplane.Unknown }

func (c Cut) String() string { return c.summary().String() }

// summary returns the cut in the words of all backends.
func (c Cut) summary() verify.Cut {
	why := c.Verdict.Reason
	return verify.Cut{
		Name: c.Name, Flow: c.Flow.String(), Decision: verify.Decision(c.Verdict.Decision), Why: why.Text,
		Cause: fmt.Sprintf("%s/%s/%d", why.Tier, why.Policy, why.Rule), AfterWrite: c.AfterWrite,
	}
}

// LockoutReport is a verify.LockoutReport with the details of each cut.
type LockoutReport struct {
	Cuts, AlreadyCut []Cut
}

// CheckLockout finds the required flows that would be cut after any of the writes, in
// order, and the required flows that are cut already.
//
// Every sender of a required flow is judged with every receiver, in both IP versions,
// on leaving and on arriving, if the sender or the receiver is a protected node; and
// every protected node with itself. Of senders and receivers that no policy
// distinguishes, a single pair is judged.
func CheckLockout(required plan.RequiredFlows, nodes []dataplane.Node, live calico.Live, writes []Write) LockoutReport {
	l := &lockoutCheck{required: required, live: live, world: dataplane.NewWorld(live, nodes)}
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

// isUnknownElsewhere says whether the only problem is an unknown decision at an
// unprotected node: no write of the policy changes such a node.
func (l *lockoutCheck) isUnknownElsewhere(cut Cut) bool {
	return cut.Verdict.Decision == dataplane.Unknown && !l.required.Protected[cut.Verdict.Reason.Node]
}

// lockoutCheck is the state of the check at one point of the sequence.
type lockoutCheck struct {
	required plan.RequiredFlows
	live     calico.Live
	world    *dataplane.World // as of the last write with a possible effect
	// initialWorld is the world before any write, and initialClasses has the classes of
	// initialWorld. Both are nil if no flow is cut initially: then every later cut
	// comes from the writes.
	initialWorld   *dataplane.World
	initialClasses *dataplane.Classes
}

func (l *lockoutCheck) copyLists() {
	l.live.Tiers, l.live.Policies = slices.Clone(l.live.Tiers), slices.Clone(l.live.Policies)
	l.live.Sets, l.live.Endpoints = slices.Clone(l.live.Sets), slices.Clone(l.live.Endpoints)
	l.live.Felix = slices.Clone(l.live.Felix)
}

// separateNewCuts separates new cuts from initial cuts: a new cut exists after a write,
// and not before the first write.
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

// isWorse says whether a decision is worse for a flow than the earlier decision. An
// Unknown flow may have been let through.
func isWorse(now, before dataplane.Decision) bool {
	return now != before && (before == dataplane.Allowed || now == dataplane.Denied)
}

// canChangeFlows says whether a write can change the decision about a flow. A write of
// a set of addresses can only if a rule in force selects the set as written, or as
// stored now.
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

// putOrRemove puts an item in place of the item with the same name, or removes the
// item.
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

// StateAfter returns the Calico objects after all of the writes.
func StateAfter(live calico.Live, writes []Write) calico.Live {
	l := &lockoutCheck{live: live}
	l.copyLists()
	for _, write := range writes {
		l.applyWrite(write)
	}
	return l.live
}

// findCuts judges all required flows in one state, and returns the cuts.
//
// If a flow was cut initially, the classes distinguish both worlds: a sender with an
// initial cut must not represent a sender without.
func (l *lockoutCheck) findCuts() []Cut {
	c := l.world.BuildClasses()
	if l.initialClasses != nil {
		c = c.CombineWith(l.initialClasses)
	}
	j := &flowJudge{world: l.world, classes: c, required: l.required, parties: map[party][]*dataplane.Group{}}
	for _, flow := range l.required.Flows {
		j.judgeFlow(flow)
	}
	return j.cuts
}
