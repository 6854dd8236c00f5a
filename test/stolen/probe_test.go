// SPDX-License-Identifier: Apache-2.0

package stolen

import (
	"maps"
	"testing"

	. "github.com/onsi/gomega"
)

const enactments = own + "controlplanenodeenactments/"

// A stolen token of the probe on cp-1 allows only the answers of cp-1.
func TestStolenProbeTokenAllowsOnlyTheProbesAnswers(t *testing.T) {
	status := func(status string) write { return patch(enactments+"plane.cp-1/status", "{status: {"+status+"}}") }
	answered := probe.expectAll(t, map[string]write{
		"own answers": status(`observers: [{name: cp-1, probeRound: 1, time: "2026-01-01T00:00:00Z"}]`),
	}, nobody)
	answered += probe.expectAll(t, map[string]write{
		"answers of another node": status(`observers: [{name: cp-2, probeRound: 1, time: "2026-01-01T00:00:00Z"}]`),
		"answers of the operator": status(`observers: [{name: operator, probeRound: 1, time: "2026-01-01T00:00:00Z"}]`),
		"answers of two":          status(`observers: [{name: cp-1, probeRound: 1, time: "2026-01-01T00:00:00Z"}, {name: cp-2, probeRound: 1, time: "2026-01-01T00:00:00Z"}]`),
		"ruleset":                 status(`ruleset: a`),
		"answers and ruleset":     status(`ruleset: a, observers: [{name: cp-1, probeRound: 1, time: "2026-01-01T00:00:00Z"}]`),
		"conditions":              status(`conditions: [{type: Enforced, status: "True", reason: X, message: x, lastTransitionTime: "2026-01-01T00:00:00Z"}]`),
	}, admission)

	tls := func(status string) write {
		return patch(own+"controlplanenodepostures/plane.cp-1/status", "{status: {"+status+"}}")
	}
	answered += probe.expectAll(t, map[string]write{
		"own observation": tls(`observers: [{name: cp-1, time: "2026-01-01T00:00:00Z"}]`),
	}, nobody)
	answered += probe.expectAll(t, map[string]write{
		"observation of another node": tls(`observers: [{name: cp-2, time: "2026-01-01T00:00:00Z"}]`),
		"observation of the operator": tls(`observers: [{name: operator, time: "2026-01-01T00:00:00Z"}]`),
		"observations of two":         tls(`observers: [{name: cp-1, time: "2026-01-01T00:00:00Z"}, {name: cp-2, time: "2026-01-01T00:00:00Z"}]`),
	}, admission)

	// No role grants a probe the operator's writes, or the writes that nobody may make.
	writes := ungranted()
	maps.Copy(writes, confined)
	maps.Copy(writes, admitted)
	delete(writes, "phases") // a role grants a probe the status: see above
	delete(writes, "own observation of TLS")
	answered += probe.expectAll(t, writes, rbac)
	NewWithT(t).Expect(answered).To(BeNumerically(">=", 150))
}
