// SPDX-License-Identifier: Apache-2.0

package stolen

import (
	"maps"
	"testing"

	. "github.com/onsi/gomega"
)

const enactments = own + "controlplanenodeenactments/"

// A stolen token of the probe on cp-1 writes the answers of cp-1, and nothing else.
func TestProbesTokenIsOfLittleUse(t *testing.T) {
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

	// No role lets a probe do what the operator does, nor what it must not.
	writes := ungranted()
	maps.Copy(writes, confined)
	maps.Copy(writes, admitted)
	delete(writes, "phases") // a role lets a probe write the status: see above
	answered += probe.expectAll(t, writes, rbac)
	NewWithT(t).Expect(answered).To(BeNumerically(">=", 150))
}
