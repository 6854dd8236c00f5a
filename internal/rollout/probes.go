// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// expectationOf returns the expected outcome of an attempt.
func (n *nodeRun) expectationOf(o v1alpha1.Observation, result v1alpha1.ProbeResult) Expectation {
	if n.Expect == nil {
		return AnyOutcome
	}
	return n.Expect(o, result.Address, result.Port)
}

// provesReachable tells whether a result of the baseline has to be reached again with
// the rules. A target closed in the baseline proves no effect of the rules.
func (n *nodeRun) provesReachable(before v1alpha1.Observation, result v1alpha1.ProbeResult) bool {
	return result.Outcome.IsConnected() && n.expectationOf(before, result) == MustConnect
}

// baselineObservers returns the names of the observers with such results.
func (n *nodeRun) baselineObservers() []string {
	var names []string
	for _, o := range n.desired.Status.Baseline {
		if slices.ContainsFunc(o.Results, func(result v1alpha1.ProbeResult) bool { return n.provesReachable(o, result) }) {
			names = append(names, o.Name)
		}
	}
	return names
}

// latestObservation returns the last observation of an observer, nil if there is none.
func (n *nodeRun) latestObservation(name string) *v1alpha1.Observation {
	i := slices.IndexFunc(n.desired.Status.Observers, func(o v1alpha1.Observation) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &n.desired.Status.Observers[i]
}

// answersRound tells whether an observation answers the last round.
func (n *nodeRun) answersRound(o *v1alpha1.Observation) bool {
	return o != nil && o.ProbeRound == n.currentRound()
}

// silentObservers returns the baseline observers without an answer to the last round.
func (n *nodeRun) silentObservers() []string {
	return slices.DeleteFunc(n.baselineObservers(), func(name string) bool { return n.answersRound(n.latestObservation(name)) })
}

// findRegressions returns the targets reached in the baseline and not reached now, by
// the valid observations.
func (n *nodeRun) findRegressions(valid func(*v1alpha1.Observation) bool) []string {
	var found []string
	for _, before := range n.desired.Status.Baseline {
		now := n.latestObservation(before.Name)
		if !valid(now) {
			continue
		}
		for _, was := range before.Results {
			// The observer may have moved to a node from which the flow is not allowed.
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

// outcomeFor returns the outcome for the same target, empty if the target was not tried.
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

// isWorse tells whether a connection is worse than in the baseline.
func isWorse(before, now v1alpha1.ProbeOutcome) bool {
	return !now.IsConnected() || before == v1alpha1.ProbeOpen && now == v1alpha1.ProbeSilent
}

// formatTarget returns address and port of the target of a result.
func formatTarget(result v1alpha1.ProbeResult) string {
	address, err := netip.ParseAddr(result.Address)
	if err != nil {
		return fmt.Sprintf("%s:%d", result.Address, result.Port)
	}
	return netip.AddrPortFrom(address, uint16(result.Port)).String()
}

// describeProof counts the observers and connections behind the phase Enforced.
func (n *nodeRun) describeProof() string {
	connections := 0
	for _, before := range n.desired.Status.Baseline {
		for _, result := range before.Results {
			if n.provesReachable(before, result) {
				connections++
			}
		}
	}
	return fmt.Sprintf("Observers: %d; connections that were made before the rules, and are made with the rules: %d",
		len(n.baselineObservers()), connections)
}
