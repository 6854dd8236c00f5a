// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// Stage holds writes that need not wait for each other.
type Stage struct {
	schedule.Step
	Writes []drift.Write
}

// IsUnfinished tells whether a permitted write of the stage was not made.
func (s Stage) IsUnfinished(written Written, may Permission) bool {
	return slices.ContainsFunc(s.Writes, func(w drift.Write) bool { return !written[w.Object] && !w.IsConflicted() && may(w) })
}

// IsWritten tells whether a write of the stage was made.
func (s Stage) IsWritten(written Written) bool {
	return slices.ContainsFunc(s.Writes, func(w drift.Write) bool { return written[w.Object] })
}

// StagesOf returns the stages in order: first all writes, then the removals from the last
// stage to the first.
func StagesOf(diff drift.Diff) []Stage {
	var stages []Stage
	add := func(w drift.Write, is schedule.Step) {
		last := len(stages) - 1
		if last < 0 || stages[last].Step != is {
			stages = append(stages, Stage{Step: is})
			last++
		}
		stages[last].Writes = append(stages[last].Writes, w)
	}
	for _, w := range diff.Writes {
		add(w, schedule.Step{Number: w.Stage})
	}
	for _, w := range diff.Removals {
		add(w, schedule.Step{Number: w.Stage, Removing: true})
	}
	return stages
}
