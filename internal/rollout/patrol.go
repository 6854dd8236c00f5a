// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// butNow parts what was proven of a node from what became of it since.
const butNow = ". But now: "

// patrol looks after nodes that are done, and returns what connected though it
// is declared closed.
func (r *run) patrol() []string {
	var connected []string
	for _, m := range r.members {
		if !m.in(v1alpha1.PhaseEnforced) || !m.Programmed {
			continue
		}
		since := &meta.FindStatusCondition(m.e.Status.Conditions, v1alpha1.PhaseEnforced).LastTransitionTime
		r.askPatrol(m, since)
		if !m.patrolled(since) {
			continue
		}
		connected = append(connected, m.connected()...)
		message, _, _ := strings.Cut(m.message(), butNow)
		if failed := m.regressions(m.onPatrol); len(failed) > 0 {
			message += butNow + wording.Names(failed)
		}
		r.set(m, v1alpha1.PhaseEnforced, m.reason(), message)
	}
	return connected
}

// patrolled says whether the last round was asked when the node was Enforced
// already: in a later second, because that is how exactly it is known.
func (m *member) patrolled(since *metav1.Time) bool {
	return m.e.Status.AskTime != nil && m.e.Status.AskTime.After(since.Time)
}

// askPatrol asks the rounds of a node that is done. The first one leaves out a
// number: so the answer to the round before the last is always one of a patrol
// too, and what it found stands until the observer answers again.
func (r *run) askPatrol(m *member, since *metav1.Time) {
	if len(m.e.Status.Observers) == 0 || len(m.Targets) == 0 {
		return
	}
	pace, last := patrolInterval, m.e.Status.AskTime
	if !m.patrolled(since) {
		pace, last = granularity, since
	}
	if r.passed(last, pace) {
		if last == since {
			m.e.Spec.Round = ptr.To(m.round() + 1)
		}
		r.ask(m)
		last, pace = m.e.Status.AskTime, patrolInterval
	}
	r.wakeAt(last, pace)
}

// onPatrol says whether what an observer found is an answer to a patrol that is
// not outdated.
func (m *member) onPatrol(o *v1alpha1.Observation) bool {
	return o != nil && (o.Round == m.round() || o.Round == m.round()-1)
}

// connected returns what connected though it is declared closed.
func (m *member) connected() []string {
	var found []string
	for _, o := range m.e.Status.Observers {
		if !m.onPatrol(&o) {
			continue
		}
		for _, result := range o.Results {
			if result.Outcome.Connects() && m.expect(o, result) == MustNotConnect {
				found = append(found, fmt.Sprintf("%s from %s: %s", target(result), o.Name, result.Outcome))
			}
		}
	}
	return found
}
