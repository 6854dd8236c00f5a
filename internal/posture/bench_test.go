// SPDX-License-Identifier: Apache-2.0

package posture_test

import (
	"fmt"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
)

// BenchmarkJudging50Nodes does the work for one report on 50 nodes with 6 ports each, seen by 16 observers.
// At the default interval, 800 items are written in 300 seconds; reports are at least a second apart.
func BenchmarkJudging50Nodes(b *testing.B) {
	in := posture.Input{Declared: v1alpha1.TLSPosture{IntervalSeconds: 300}, Now: now}
	for n := range 50 {
		name := fmt.Sprint("cp-", n)
		in.Plan.Nodes = append(in.Plan.Nodes, plan.NodeTargets{Node: name, Targets: targets})
		p := *input().Postures[0].DeepCopy()
		p.Spec.Node, p.UID = name, "" // irrelevant here
		for o := range v1alpha1.MaxObservers {
			p.Status.Observers = append(p.Status.Observers, observed(fmt.Sprint("cp-", o)))
		}
		in.Postures = append(in.Postures, p)
	}
	b.ReportAllocs()
	for b.Loop() {
		posture.JudgeTLS(in)
		posture.HandshakesOf(in.Postures, now)
	}
}
