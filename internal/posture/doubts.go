// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// doubt is why a port cannot be judged.
type doubt struct {
	what string
	// unobserved is the component if only an observer on the node can probe the component,
	// and no such observer runs.
	unobserved v1alpha1.PostureComponent
}

// missingFact returns a fact missing from an answer, empty if the answer is enough to judge
// the port.
func missingFact(component v1alpha1.PostureComponent, r seen) string {
	rules := rulesOf[component]
	switch {
	case r.Outcome != v1alpha1.TLSOpen:
		return "" // it answered without TLS, which is a finding
	case r.Plaintext == "":
		return "whether it answers without TLS"
	case r.LowestVersion == "":
		return "which versions of TLS it accepts"
	case len(olderOf(r.Unclear, r.LowestVersion)) > 0:
		return "whether it accepts " + versionName(olderOf(r.Unclear, r.LowestVersion)[0])
	case slices.Contains(r.Unclear, v1alpha1.UnclearCipherSuites):
		return "which weak cipher suites it accepts"
	case rules.demand != "" && r.ClientCertificate == "":
		return "whether it demands client certificates"
	case len(r.Certificates) == 0:
		return "which certificate it has"
	case rules.issuer != "" && r.Issuer == "":
		return "who issued its certificate"
	}
	return ""
}

// olderOf returns the versions among the unclear facts that are older than the lowest
// accepted version.
func olderOf(unclear []string, lowest string) []string {
	return slices.DeleteFunc(slices.Clone(unclear), func(fact string) bool {
		return fact == v1alpha1.UnclearCipherSuites || !isOlder(fact, lowest)
	})
}

// doubtAbout returns why a port cannot be judged by the results.
func doubtAbout(in Input, p port, results []seen) *doubt {
	name := fmt.Sprintf("%s on %s, port %d, ", p.component, p.node, p.number)
	var tries []string
	for _, r := range results {
		if r.hasFacts() {
			return &doubt{what: name + "did not show " + missingFact(p.component, r)}
		}
		tries = wording.AppendUnique(tries, fmt.Sprintf("%s from %s", describeOutcome(r), r.observer))
	}
	switch {
	case len(tries) > 0:
		return &doubt{what: name + "was not reached: " + wording.ListNames(tries)}
	case isLoopbackOnly(p) && hasNoRoom(in, p.node):
		return &doubt{what: name + "answers on loopback only, and the probe pod on the node found no place among the observers: " +
			"run probe pods on fewer nodes"}
	case isLoopbackOnly(p) && !hasObserver(in, p.node):
		return &doubt{what: name + "answers on loopback only, and no probe runs on the node", unobserved: p.component}
	}
	return &doubt{what: name + "has not been probed lately"}
}

func describeOutcome(r seen) string {
	if r.Problem == "" {
		return string(r.Outcome)
	}
	return fmt.Sprintf("%s (%s)", r.Outcome, wording.OneLine(r.Problem, maxProblem))
}

// maxProblem is the maximum length of a problem in a message.
const maxProblem = 120

func isLoopbackOnly(p port) bool {
	return !slices.ContainsFunc(p.addresses, func(a string) bool { return !IsLoopback(a) })
}

// hasNoRoom tells whether other observers have taken the place of the observer on the node.
func hasNoRoom(in Input, node string) bool {
	p := postureOf(in.Postures, node)
	return p != nil && len(p.Status.Observers) >= v1alpha1.MaxObservers &&
		!slices.ContainsFunc(p.Status.Observers, func(o v1alpha1.TLSObservation) bool { return o.Name == node })
}

// doubtsAboutPlan returns what is declared and cannot be probed.
func doubtsAboutPlan(in Input) []doubt {
	var doubts []doubt
	for _, name := range in.Plan.Silent {
		doubts = append(doubts, doubt{what: "node " + name + " shows no internal address"})
	}
	if len(in.Plan.Nodes) == 0 {
		return doubts
	}
	found := map[v1alpha1.PostureComponent]bool{}
	for _, node := range in.Plan.Nodes {
		for _, target := range node.Targets {
			found[target.Component] = true
		}
	}
	for _, component := range in.Declared.Components {
		if !found[component] {
			doubts = append(doubts, doubt{what: fmt.Sprintf("no selected node has a port of %s: leave it out of spec.posture.tls.components, "+
				"or select the nodes on which it runs", component)})
		}
	}
	if len(found) == 0 && len(doubts) == 0 {
		doubts = append(doubts, doubt{what: "the selected nodes have no port of a component"})
	}
	return doubts
}

// hasObserver tells whether an observer on the node has written fresh results.
func hasObserver(in Input, node string) bool {
	return slices.ContainsFunc(in.Postures, func(p v1alpha1.ControlPlaneNodePosture) bool {
		return slices.ContainsFunc(p.Status.Observers, func(o v1alpha1.TLSObservation) bool {
			return o.Name == node && isFresh(&o, Interval(p.Spec.IntervalSeconds), in.Now)
		})
	})
}

// describeDoubts names the ports without a judgement, and says what to do.
func describeDoubts(doubts []doubt) string {
	var lines []string
	var unobserved []string
	for _, d := range doubts {
		if d.unobserved == "" {
			lines = append(lines, d.what)
		} else {
			unobserved = wording.AppendUnique(unobserved, string(d.unobserved))
		}
	}
	slices.Sort(unobserved)
	if len(unobserved) > 0 {
		lines = append(lines, fmt.Sprintf("%s answer on loopback only, and no probe runs on the node: install the probes (docs/probes.md), "+
			"or list the other components in spec.posture.tls.components", strings.Join(unobserved, ", ")))
	}
	return "Not everything could be judged: " + wording.ListPoints(lines)
}
