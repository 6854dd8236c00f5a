// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// What a report keeps of the remembered writes does not change when a policy is forgotten.
func TestKeptWritesStayWhenAPolicyIsForgotten(t *testing.T) {
	g, history := NewWithT(t), drift.NewHistory()
	node := drift.Object{Kind: "Node", Name: "cp-1"}
	record := state.Record{"a:NoSchedule": {Policy: "p"}, "b:NoSchedule": {Policy: "q"}}
	history.RememberWrites(node, "uid", record)
	kept := history.RememberedWrites(node)
	history.ForgetPolicy("p")
	g.Expect(kept.Equal(history.RememberedWrites(node))).To(BeFalse())
	history.RememberWrites(node, "uid", record)
	g.Expect(kept.Equal(history.RememberedWrites(node))).To(BeTrue())
}
