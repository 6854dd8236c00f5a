// SPDX-License-Identifier: Apache-2.0

// Package compare compares nodes and Services with what policies declare, for reports. It
// keeps what every object adds to a report, so that the next report compares only the
// objects that have changed.
package compare

import (
	"context"
	"maps"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Comparer compares the nodes and Services of all policies. The zero value is ready to use.
// A Comparer must not be used concurrently, and a History must have only one Comparer.
type Comparer struct{ memories map[string]*memory }

// memory keeps what nodes and Services add to the report of one policy.
type memory struct {
	inputs   plan.PolicyInputs
	nodes    nodes
	services services
}

// Sources are what a comparison reads besides the assessment of a policy.
type Sources struct {
	Observe state.Observer
	// History has the writes of the operator.
	History *drift.History
	Now     time.Time
}

// AddTo adds to a report the comparison of all taints and traffic policies of a policy.
func (c *Comparer) AddTo(ctx context.Context, in *report.Input, a pipeline.Assessment, from Sources) error {
	m := c.memoryOf(a.Policy.Name, a.Policies)
	c.markTouched(from.History)
	if err := m.nodes.addTo(ctx, in, a, from); err != nil {
		return err
	}
	return m.services.addTo(ctx, in, a, from)
}

// memoryOf returns the memory of a policy, empty after any change of the policies.
func (c *Comparer) memoryOf(policy string, policies []plan.Policy) *memory {
	inputs := plan.InputsOf(policies)
	if known := c.memories[policy]; known != nil && known.inputs.Same(inputs) {
		known.inputs = inputs // whose parts the next inputs share: equal pointers are compared fastest
		return known
	}
	if c.memories == nil {
		c.memories = map[string]*memory{}
	}
	maps.DeleteFunc(c.memories, func(name string, _ *memory) bool { return plan.FindPolicy(policies, name) == nil })
	c.memories[policy] = &memory{inputs: inputs}
	return c.memories[policy]
}

// markTouched makes the next report of every policy compare the objects for which a
// comparison reads something else of the History than at the last report. An object that a
// policy has not seen yet is compared when it is seen, if the policy declares its kind at all.
func (c *Comparer) markTouched(history *drift.History) {
	for object := range history.TakeTouched() {
		for _, m := range c.memories {
			switch object.Kind {
			case "Node":
				if m.nodes.seen.byKey[object.Name] != nil {
					m.nodes.sum.mark(object.Name)
				}
			case "Service":
				if key := keyOf(object); m.services.seen.byKey[key] != nil {
					m.services.sum.mark(key)
				}
			}
		}
	}
}
