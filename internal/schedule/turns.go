// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"sync"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Turns lets policies start nodes one policy after the other, so that each policy sees all
// nodes in flight of other policies, including nodes started a moment ago. The zero value
// is ready to use. Turns is safe for concurrent use.
type Turns struct {
	mu    sync.Mutex
	begun Timers[turn]
}

type turn struct{ policy, node string }

// Decide decides the next phases of the nodes of a policy. wait is the time until nodes
// missing in the cache are no reason to wait any more.
func (t *Turns) Decide(in rollout.Input, snapshot state.Snapshot) (d rollout.Decision, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	under, endpoints := map[turn]bool{}, snapshot.OnHosts().HostEndpoints()
	for i := range snapshot.Enactments {
		if e := &snapshot.Enactments[i]; IsInFlight(e, endpoints) {
			under[turn{e.Spec.Policy, e.Spec.Node}] = true
		}
	}
	wait = t.unseen(in, under)
	in.OthersInFlight = 0
	for of := range under {
		if of.policy != in.Policy {
			in.OthersInFlight++
		}
	}
	d = rollout.Decide(in)
	for i := range d.Enactments {
		of := turn{in.Policy, d.Enactments[i].Spec.Node}
		if rollout.PhaseOf(&d.Enactments[i]) == v1alpha1.PhaseProgressing && !under[of] {
			t.begun.Set(of, in.Now)
		}
	}
	return d, wait
}

// unseen adds started nodes that the cache does not show yet, and returns how long other
// policies may still have to wait for such nodes.
func (t *Turns) unseen(in rollout.Input, under map[turn]bool) (wait time.Duration) {
	for of, left := range t.begun.Running(timing.StartVisible, in.Now) {
		if under[of] {
			t.begun.Forget(of)
			continue
		}
		under[of] = true
		if of.policy != in.Policy {
			wait = max(wait, left)
		}
	}
	return wait
}

// IsInFlight tells whether a node is in flight: the node has rules in trial, or rules still
// to be rolled back.
func IsInFlight(e *v1alpha1.ControlPlaneNodeEnactment, endpoints []backend.Endpoint) bool {
	switch rollout.PhaseOf(e) {
	case v1alpha1.PhaseProgressing:
		return true
	case "", v1alpha1.PhaseEnforced:
		return false // not started; or enforced, where removed rules are repaired
	}
	wanted := rollout.RulesetFor(e).Version
	live := plan.LiveVersion(e.Spec.Policy, e.Spec.Node, wanted, endpoints)
	return live != "" && live != wanted
}
