// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// expect says what is to become of an attempt.
func (m *member) expect(o v1alpha1.Observation, result v1alpha1.ProbeResult) Expectation {
	if m.Expect == nil {
		return Any
	}
	return m.Expect(o, result.Address, result.Port)
}

// counts says whether a result of before the start counts after it: what was
// closed before, proves nothing.
func (m *member) counts(before v1alpha1.Observation, result v1alpha1.ProbeResult) bool {
	return result.Outcome.Connects() && m.expect(before, result) == MustConnect
}

// counted returns the names of the observers whose results count.
func (m *member) counted() []string {
	var names []string
	for _, o := range m.e.Status.Before {
		if slices.ContainsFunc(o.Results, func(result v1alpha1.ProbeResult) bool { return m.counts(o, result) }) {
			names = append(names, o.Name)
		}
	}
	return names
}

// observer returns what an observer found last, nil if it is not known.
func (m *member) observer(name string) *v1alpha1.Observation {
	i := slices.IndexFunc(m.e.Status.Observers, func(o v1alpha1.Observation) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &m.e.Status.Observers[i]
}

// inRound says whether an observer answered the last round.
func (m *member) inRound(o *v1alpha1.Observation) bool { return o != nil && o.Round == m.round() }

// unanswered returns the observers that count, and did not answer the last
// round.
func (m *member) unanswered() []string {
	return slices.DeleteFunc(m.counted(), func(name string) bool { return m.inRound(m.observer(name)) })
}

// regressions returns what was reached before the start and is not now, by the
// answers that are valid.
func (m *member) regressions(valid func(*v1alpha1.Observation) bool) []string {
	var found []string
	for _, before := range m.e.Status.Before {
		now := m.observer(before.Name)
		if !valid(now) {
			continue
		}
		for _, was := range before.Results {
			// An observer may have moved to where the flow is not allowed.
			if !m.counts(before, was) || m.expect(*now, was) != MustConnect {
				continue
			}
			if is := outcome(now, was); worse(was.Outcome, is) {
				found = append(found, fmt.Sprintf("%s from %s: %s before, %s now", target(was), before.Name, was.Outcome, told(is)))
			}
		}
	}
	return found
}

// outcome returns what became of the same target, empty if it was not tried.
func outcome(o *v1alpha1.Observation, of v1alpha1.ProbeResult) v1alpha1.ProbeOutcome {
	for _, result := range o.Results {
		if result.Address == of.Address && result.Port == of.Port {
			return result.Outcome
		}
	}
	return ""
}

func told(outcome v1alpha1.ProbeOutcome) string {
	if outcome == "" {
		return "not tried"
	}
	return string(outcome)
}

// worse says whether a connection is no longer what it was.
func worse(before, now v1alpha1.ProbeOutcome) bool {
	return !now.Connects() || before == v1alpha1.ProbeOpen && now == v1alpha1.ProbeSilent
}

// target names what was tried.
func target(result v1alpha1.ProbeResult) string {
	address, err := netip.ParseAddr(result.Address)
	if err != nil {
		return fmt.Sprintf("%s:%d", result.Address, result.Port)
	}
	return netip.AddrPortFrom(address, uint16(result.Port)).String()
}

// proof says what was tried on a node.
func (m *member) proof() string {
	connections := 0
	for _, before := range m.e.Status.Before {
		for _, result := range before.Results {
			if m.counts(before, result) {
				connections++
			}
		}
	}
	return fmt.Sprintf("Observers: %d; connections that they made before the rules, and make with them: %d", len(m.counted()), connections)
}
