// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// inTransition keeps allowed flows allowed until the matching denial is gone. For new
// intent, the writes first add newly allowed flows, and the removals later remove the flows
// no longer allowed. So a node that leaves the control plane can still reach itself until
// the node's endpoint is gone.
//
// Foreign changes are repaired at once.
func inTransition(diff Diff) Diff {
	var writes []Write
	for _, w := range diff.Writes {
		both, adds, drops := mergeForTransition(w)
		switch {
		case !drops:
			writes = append(writes, w)
		case !adds:
			diff.Removals = append(diff.Removals, w)
		default:
			w.Desired = both
			writes = append(writes, w)
		}
	}
	diff.Writes = writes
	return diff
}

// mergeForTransition returns an object with the allowed flows of live and desired, and tells
// whether the desired object adds flows and drops flows. Only new intent needs a transition,
// and only for objects that allow flows.
func mergeForTransition(w Write) (both plan.Object, adds, drops bool) {
	if w.Live == nil || slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.State != v1alpha1.StatePending }) {
		return nil, false, false
	}
	kinds, ours := backend.KindsOf(w.Desired)
	if !ours {
		return nil, false, false
	}
	both, adds, drops = kinds.Merge(w.Desired, w.Live)
	if both == nil {
		return nil, false, false
	}
	if err := plan.Stamp(both); err != nil { // cannot fail: the types are the operator's
		return nil, false, false
	}
	return both, adds, drops
}
