// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
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
	// Of what was found, nobody knows whether it was tried.
	bare := m.undone() && (status.FoundTime != nil || r.many((*member).undone))
	if bare {
		m.goesBackTo("", nil)
	}
	switch {
	case m.was == "":
		r.create(m)
	case m.was == v1alpha1.PhasePending, m.was == v1alpha1.PhaseEnforced && bare:
		r.pend(m)
	case m.was == v1alpha1.PhaseProgressing:
		// An endpoint of others in the place of ours: it has no rules to be tried.
		if status.Version != r.Version || m.Foreign != "" {
			r.pend(m)
		}
		status.PolicyGeneration = r.Generation
	case m.was == v1alpha1.PhaseEnforced:
		r.carryDone(m, blocked)
	case r.again(m, blocked):
		r.pend(m)
	}
}

// carryDone does so for a node that is done.
func (r *run) carryDone(m *member, blocked bool) {
	status := &m.e.Status
	switch {
	case m.widened() && (status.SoakTime == nil || r.many((*member).widened)):
		m.goesBackTo(status.Version, nil)
		r.pend(m)
	case status.Version == r.Version && m.tried():
		status.PolicyGeneration = r.Generation
		if !m.Narrows {
			status.NarrowTime = nil // should they be narrowed again, that is tried again
		}
	case !blocked:
		m.goesBackTo(status.Version, status.NarrowTime)
		r.pend(m)
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
// that they announce themselves. A node that has rules already, as after
// deletionPolicy Orphan, or because somebody deleted its enactment, keeps them
// until its turn comes, since nobody knows how far it was; but not narrow failsafe
// ports. One that is not ready may be so because of the rules.
func (r *run) create(m *member) {
	if m.Live != "" && m.Ready {
		m.e.Status.FoundTime = r.now.DeepCopy()
		m.goesBackTo(m.Live, nil)
	}
	r.pend(m)
	r.ask(m)
}

// goesBackTo says what a node has while it waits, and is taken back to.
func (m *member) goesBackTo(version string, narrow *metav1.Time) {
	m.e.Status.PreviousVersion, m.e.Status.PreviousNarrowTime = version, narrow.DeepCopy()
}

// tried says whether a node was tried with its failsafe ports narrow, if they are
// to be.
func (m *member) tried() bool { return m.e.Status.NarrowTime != nil || !m.Narrows }

// undone says whether a node that is not under way has no rules any more, though
// it is to have some.
func (m *member) undone() bool {
	version, _ := Wanted(m.Enactment)
	return version != "" && m.was != "" && m.was != v1alpha1.PhaseProgressing && m.Live == "" && m.Foreign == ""
}

// widened says whether the failsafe ports of a node that is done are not narrow
// any more; or never were, where it did not soak with them, because somebody else
// had decided about them, and has not any more.
func (m *member) widened() bool {
	return m.was == v1alpha1.PhaseEnforced && m.Narrows && !m.Narrow && !m.Contested &&
		m.Enactment.Status.Version == m.Live && m.Enactment.Status.NarrowTime != nil
}

// many says whether what is gone of nodes is not to be put back at once, but node
// by node: somebody took it from several, by hand or with all of Calico, or the
// control plane is not well. On a single node that is drift.
func (r *run) many(gone func(*member) bool) bool {
	count := 0
	for _, m := range r.members {
		if gone(m) {
			count++
		}
	}
	return count > 1 || len(r.down(nil)) > 0
}

// pend makes a node wait for its turn; why it waits is said later on. One that
// waited with rules that are called for again is done: somebody went back to what
// was declared before.
func (r *run) pend(m *member) {
	status := &m.e.Status
	back := status.Version != r.Version && m.hasStill(r.Version)
	status.PolicyGeneration, status.Version = r.Generation, r.Version
	m.restart()
	if !m.Narrow {
		status.PreviousNarrowTime = nil // whoever widened them: they are narrowed again when that is tried
	}
	switch {
	case back:
		status.NarrowTime = status.PreviousNarrowTime
		m.goesBackTo("", nil)
		r.set(m, v1alpha1.PhaseEnforced, v1alpha1.ReasonUnproven, "Has the rules that are called for: nothing was tried before and after")
	case !m.in(v1alpha1.PhasePending):
		r.set(m, v1alpha1.PhasePending, v1alpha1.ReasonQueued, "")
	}
}

// hasStill says whether a node that is not under way has a version of the rules,
// with its failsafe ports as they are to be, and as they were when it was done with
// them.
func (m *member) hasStill(version string) bool {
	status := &m.e.Status
	return m.was != v1alpha1.PhaseProgressing && m.Foreign == "" && status.FoundTime == nil &&
		status.PreviousVersion == version && m.Live == version &&
		m.Narrow == m.Narrows && m.Narrow == (status.PreviousNarrowTime != nil)
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
		m.goesBackTo("", nil)
		status.FoundTime = nil
		if r.failed(m) {
			continue
		}
		status.PolicyGeneration, status.Version = r.Generation, cmp.Or(status.Version, r.Version)
		r.set(m, v1alpha1.PhaseReverted, v1alpha1.ReasonTakenBack,
			fmt.Sprintf("The policy is annotated with %s: %s", v1alpha1.AnnotationRevert, wording.Quoted(r.TakeBack, maxReason)))
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
