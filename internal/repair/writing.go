// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Writing knows the running reconciliations of nodes and Services. A running reconciliation
// may have begun before the deletion of a policy was seen, and may still write for the
// policy. The zero value is ready to use, a nil value knows no reconciliation. Writing is
// safe for concurrent use.
type Writing struct {
	mu    sync.Mutex
	last  int
	under map[int]bool
	// asked holds the reconciliations that were running when an ending was first asked about.
	asked map[Ending]map[int]bool
}

// Begin records the start of a reconciliation, and returns a function that records the end.
func (w *Writing) Begin() (end func()) {
	if w == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.under == nil {
		w.under = map[int]bool{}
	}
	w.last++
	number := w.last
	w.under[number] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.under, number)
	}
}

// Over tells whether all reconciliations have ended that were running when an ending of a
// policy was first asked about.
func (w *Writing) Over(e Ending) bool {
	if w == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before, asked := w.asked[e]
	if !asked {
		if w.asked == nil {
			w.asked = map[Ending]map[int]bool{}
		}
		before = maps.Clone(w.under)
		w.asked[e] = before
	}
	maps.DeleteFunc(before, func(number int, _ bool) bool { return !w.under[number] })
	return len(before) == 0
}

// Forget drops a policy, so that the next question about the policy counts as the first.
func (w *Writing) Forget(policy types.UID) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.asked, func(e Ending, _ map[int]bool) bool { return e.policy == policy })
}

// KeepOnly forgets all policies except the given policies.
func (w *Writing) KeepOnly(policies []plan.Policy) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.asked, func(e Ending, _ map[int]bool) bool {
		return !slices.ContainsFunc(policies, func(p plan.Policy) bool { return p.UID == e.policy })
	})
}

// Ending is the cause of a roll back: the deletion of the policy, or the annotation.
type Ending struct {
	policy   types.UID
	deletion bool
}

// EndingOf returns the cause of the present rollback of a policy.
func EndingOf(policy *plan.Policy) Ending { return Ending{policy.UID, policy.Deleting()} }
