// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// carry brings what is called for into the enactments: a new one, one of other
// rules, or of another generation. Where a node was reverted for this
// generation, nothing that is Enforced changes.
func (r *run) carry() {
	blocked := r.revertedNode(asPersisted) != ""
	for _, m := range r.members {
		r.carryTo(m, blocked)
	}
}

func (r *run) carryTo(m *member, blocked bool) {
	status := &m.e.Status
	switch m.was {
	case "":
		r.create(m)
	case v1alpha1.PhasePending:
		r.pend(m, status.PreviousVersion)
	case v1alpha1.PhaseProgressing:
		if status.Version != r.Version {
			r.pend(m, status.PreviousVersion)
		}
		status.PolicyGeneration = r.Generation
	case v1alpha1.PhaseEnforced:
		r.carryDone(m, blocked)
	default:
		if r.again(m, blocked) {
			r.pend(m, status.PreviousVersion)
		}
	}
}

// carryDone does so for a node that is done.
func (r *run) carryDone(m *member, blocked bool) {
	status := &m.e.Status
	switch {
	case m.undone() && r.manyUndone():
		r.pend(m, "")
	case status.Version == r.Version && m.tried():
		status.PolicyGeneration = r.Generation
		if !m.Narrows {
			status.NarrowTime = nil // should they be narrowed again, that is tried again
		}
	case !blocked:
		r.pend(m, status.Version)
	}
}

// again says whether a node that was taken back, or stopped, is to be begun once
// more: for another generation, when the reason to take everything back is gone,
// and when somebody deleted the enactment of the node that failed, to try again.
func (r *run) again(m *member, blocked bool) bool {
	lifted := m.reason() == v1alpha1.ReasonTakenBack && r.TakeBack == ""
	resumed := m.was == v1alpha1.PhaseAborted && !blocked
	return lifted || resumed || m.e.Status.PolicyGeneration != r.Generation
}

// create begins the enactment of a node. The observers are asked at once, so
// that they announce themselves. A node that has the rules already, as after
// deletionPolicy Orphan, or because somebody deleted its enactment, keeps them,
// and has to prove itself: nobody knows how far it was.
func (r *run) create(m *member) {
	if m.Live != r.Version || m.Foreign != "" {
		r.pend(m, m.Live)
		r.ask(m)
		return
	}
	status := &m.e.Status
	status.PolicyGeneration, status.Version, status.StartTime = r.Generation, r.Version, r.now.DeepCopy()
	r.ask(m)
	r.progress(m, v1alpha1.ReasonWriting, "Found with the rules that are called for")
}

// tried says whether a node was tried with its failsafe ports narrow, if they are
// to be.
func (m *member) tried() bool { return m.e.Status.NarrowTime != nil || !m.Narrows }

// undone says whether a node that is done has no rules any more.
func (m *member) undone() bool {
	return m.was == v1alpha1.PhaseEnforced && m.Live == "" && m.Foreign == ""
}

// manyUndone says whether rules that are gone are not to be put back at once, but
// node by node: somebody took them from several, by hand or with all of Calico,
// or the control plane is not well. On a single node that is drift.
func (r *run) manyUndone() bool {
	undone := 0
	for _, m := range r.members {
		if m.undone() {
			undone++
		}
	}
	return undone > 1 || len(r.down(nil)) > 0
}

// pend makes a node wait for its turn; why it waits is said later on. One that
// has the rules that are called for, and is to be taken back to no others, is
// done: somebody went back to what was declared before. Not so where its failsafe
// ports are still to be narrowed: that is tried.
func (r *run) pend(m *member, previous string) {
	status := &m.e.Status
	status.PolicyGeneration, status.Version, status.PreviousVersion = r.Generation, r.Version, previous
	m.restart()
	switch {
	case previous == r.Version && m.Live == r.Version && m.Foreign == "" && m.Narrow == m.Narrows:
		status.PreviousVersion = ""
		if m.Narrow {
			status.NarrowTime = r.now.DeepCopy()
		}
		r.set(m, v1alpha1.PhaseEnforced, v1alpha1.ReasonUnproven, "Found with the rules that are called for: nothing was tried before and after")
	case !m.in(v1alpha1.PhasePending):
		r.set(m, v1alpha1.PhasePending, v1alpha1.ReasonQueued, "")
	}
}

// restart forgets how far a node was.
func (m *member) restart() {
	m.e.Status.StartTime, m.e.Status.SoakTime, m.e.Status.NarrowTime, m.e.Status.Before = nil, nil, nil, nil
	withdraw(m.e)
}

// hold has the nodes wait, while it can not be told what is called for. One that
// is under way waits with the rules that it had before: nobody can say whether
// the new ones cut anything, or what must be reached with them.
func (r *run) hold() {
	for _, m := range r.members {
		if m.in(v1alpha1.PhaseProgressing) || m.in(v1alpha1.PhasePending) {
			m.restart()
			r.wait(m, v1alpha1.ReasonNotVerified, r.Unverified)
		}
	}
}

// takeBack takes every node back to where nothing is restricted. A node that
// failed in this generation stays told so, and is not tried again when the
// reason is gone.
func (r *run) takeBack() {
	for _, m := range r.members {
		status := &m.e.Status
		status.PreviousVersion = ""
		if r.failed(m) {
			continue
		}
		status.PolicyGeneration, status.Version = r.Generation, cmp.Or(status.Version, r.Version)
		r.set(m, v1alpha1.PhaseReverted, v1alpha1.ReasonTakenBack,
			fmt.Sprintf("The policy is annotated with %s: %q", v1alpha1.AnnotationRevert, r.TakeBack))
	}
}

// failed says whether a node was reverted for this generation, because something
// failed.
func (r *run) failed(m *member) bool { return r.failedIn(m.e) }

func (r *run) failedIn(e *v1alpha1.ControlPlaneNodeEnactment) bool { return FailedFor(e, r.Generation) }

// FailedFor says whether a node was reverted for a generation of its policy,
// because something failed.
func FailedFor(e *v1alpha1.ControlPlaneNodeEnactment, generation int64) bool {
	return PhaseOf(e) == v1alpha1.PhaseReverted && reasonOf(e) != v1alpha1.ReasonTakenBack &&
		e.Status.PolicyGeneration == generation
}

// asPersisted and asDecided say which enactment of a node is meant.
func asPersisted(m *member) *v1alpha1.ControlPlaneNodeEnactment { return m.Enactment }
func asDecided(m *member) *v1alpha1.ControlPlaneNodeEnactment   { return m.e }

// revertedNode returns the first node that was reverted for this generation,
// empty if none was.
func (r *run) revertedNode(which func(*member) *v1alpha1.ControlPlaneNodeEnactment) string {
	if r.Failed != "" {
		return r.Failed
	}
	for _, m := range r.members {
		if e := which(m); e != nil && r.failedIn(e) {
			return m.Name
		}
	}
	return ""
}
