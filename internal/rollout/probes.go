// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// expect says what is to become of an attempt.
func (n *nodeRun) expectationOf(o v1alpha1.Observation, result v1alpha1.ProbeResult) Expectation {
	if n.Expect == nil {
		return AnyOutcome
	}
	return n.Expect(o, result.Address, result.Port)
}

// counts says whether a result of before the start counts after it: what was
// closed before, proves nothing.
func (n *nodeRun) provesReachable(before v1alpha1.Observation, result v1alpha1.ProbeResult) bool {
	return result.Outcome.Connects() && n.expectationOf(before, result) == MustConnect
}

// counted returns the names of the observers whose results count.
func (n *nodeRun) baselineObservers() []string {
	var names []string
	for _, o := range n.desired.Status.Before {
		if slices.ContainsFunc(o.Results, func(result v1alpha1.ProbeResult) bool { return n.provesReachable(o, result) }) {
			names = append(names, o.Name)
		}
	}
	return names
}

// observer returns what an observer found last, nil if it is not known.
func (n *nodeRun) latestObservation(name string) *v1alpha1.Observation {
	i := slices.IndexFunc(n.desired.Status.Observers, func(o v1alpha1.Observation) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &n.desired.Status.Observers[i]
}

// inRound says whether an observer answered the last round.
func (n *nodeRun) answersRound(o *v1alpha1.Observation) bool {
	return o != nil && o.Round == n.currentRound()
}

// unanswered returns the observers that count, and did not answer the last
// round.
func (n *nodeRun) silentObservers() []string {
	return slices.DeleteFunc(n.baselineObservers(), func(name string) bool { return n.answersRound(n.latestObservation(name)) })
}

// regressions returns what was reached before the start and is not now, by the
// answers that are valid.
func (n *nodeRun) findRegressions(valid func(*v1alpha1.Observation) bool) []string {
	var found []string
	for _, before := range n.desired.Status.Before {
		now := n.latestObservation(before.Name)
		if !valid(now) {
			continue
		}
		for _, was := range before.Results {
			// An observer may have moved to where the flow is not allowed.
			if !n.provesReachable(before, was) || n.expectationOf(*now, was) != MustConnect {
				continue
			}
			if is := outcomeFor(now, was); isWorse(was.Outcome, is) {
				found = append(found, fmt.Sprintf("%s from %s: %s before, %s now", formatTarget(was), before.Name, was.Outcome, describeOutcome(is)))
			}
		}
	}
	return found
}

// outcome returns what became of the same target, empty if it was not tried.
func outcomeFor(o *v1alpha1.Observation, of v1alpha1.ProbeResult) v1alpha1.ProbeOutcome {
	for _, result := range o.Results {
		if result.Address == of.Address && result.Port == of.Port {
			return result.Outcome
		}
	}
	return ""
}

func describeOutcome(outcome v1alpha1.ProbeOutcome) string {
	if outcome == "" {
		return "not tried"
	}
	return string(outcome)
}

// worse says whether a connection is no longer what it was.
func isWorse(before, now v1alpha1.ProbeOutcome) bool {
	return !now.Connects() || before == v1alpha1.ProbeOpen && now == v1alpha1.ProbeSilent
}

// target names what was tried.
func formatTarget(result v1alpha1.ProbeResult) string {
	address, err := netip.ParseAddr(result.Address)
	if err != nil {
		return fmt.Sprintf("%s:%d", result.Address, result.Port)
	}
	return netip.AddrPortFrom(address, uint16(result.Port)).String()
}

// proof says what was tried on a node.
func (n *nodeRun) describeProof() string {
	connections := 0
	for _, before := range n.desired.Status.Before {
		for _, result := range before.Results {
			if n.provesReachable(before, result) {
				connections++
			}
		}
	}
	return fmt.Sprintf("Observers: %d; connections that they made before the rules, and make with them: %d", len(n.baselineObservers()), connections)
}
