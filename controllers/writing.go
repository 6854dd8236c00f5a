// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Writing knows which reconciliations of nodes and Services are under way. They may have
// begun before a policy was seen to be deleted, and still write for it. The zero value
// is ready, a nil one knows of none; it is safe for concurrent use.
type Writing struct {
	mu    sync.Mutex
	last  int
	under map[int]bool
	// asked are those that were under way when an ending was first asked about.
	asked map[ending]map[int]bool
}

// begin notes one, and returns what ends it.
func (w *Writing) begin() (end func()) {
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

// over says whether those have ended that were under way when somebody first asked about
// this ending of a policy.
func (w *Writing) over(e ending) bool {
	if w == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before, asked := w.asked[e]
	if !asked {
		if w.asked == nil {
			w.asked = map[ending]map[int]bool{}
		}
		before = maps.Clone(w.under)
		w.asked[e] = before
	}
	maps.DeleteFunc(before, func(number int, _ bool) bool { return !w.under[number] })
	return len(before) == 0
}

// forget has the next one who asks about a policy be the first.
func (w *Writing) forget(policy types.UID) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.asked, func(e ending, _ map[int]bool) bool { return e.policy == policy })
}

// keep forgets all policies but those that there are.
func (w *Writing) keep(policies []plan.Policy) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.asked, func(e ending, _ map[int]bool) bool {
		return !slices.ContainsFunc(policies, func(p plan.Policy) bool { return p.UID == e.policy })
	})
}
