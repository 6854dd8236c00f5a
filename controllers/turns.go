// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// cacheTime is how long a write may take to appear in the cache. A write missing after this
// time was not made.
const cacheTime = 10 * time.Second

// turns lets policies start nodes one policy after the other, so that each policy sees all
// nodes in flight of other policies, including nodes started a moment ago. The zero value
// is ready to use. turns is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	begun map[turn]time.Time
}

type turn struct{ policy, node string }

// decide decides the next phases of the nodes of a policy. wait is the time until nodes
// missing in the cache are no reason to wait any more.
func (t *turns) decide(in rollout.Input, snapshot state.Snapshot) (d rollout.Decision, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	under := map[turn]bool{}
	for i := range snapshot.Enactments {
		if e := &snapshot.Enactments[i]; underWay(e, snapshot.Calico.Endpoints) {
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
			t.begin(of, in.Now)
		}
	}
	return d, wait
}

// unseen adds started nodes that the cache does not show yet, and returns how long other
// policies may still have to wait for such nodes.
func (t *turns) unseen(in rollout.Input, under map[turn]bool) (wait time.Duration) {
	for begun, when := range t.begun {
		left := when.Add(cacheTime).Sub(in.Now)
		if under[begun] || left <= 0 {
			delete(t.begun, begun)
			continue
		}
		under[begun] = true
		if begun.policy != in.Policy {
			wait = max(wait, left)
		}
	}
	return wait
}

func (t *turns) begin(of turn, now time.Time) {
	if t.begun == nil {
		t.begun = map[turn]time.Time{}
	}
	t.begun[of] = now
}

// underWay tells whether a node is in flight: the node has rules in trial, or rules still
// to be rolled back.
func underWay(e *v1alpha1.ControlPlaneNodeEnactment, endpoints []v3.HostEndpoint) bool {
	switch rollout.PhaseOf(e) {
	case v1alpha1.PhaseProgressing:
		return true
	case "", v1alpha1.PhaseEnforced:
		return false // not started; or enforced, where removed rules are repaired
	}
	wanted, _ := rollout.RulesetFor(e)
	live := liveVersion(e.Spec.Policy, e.Spec.Node, wanted, endpoints)
	return live != "" && live != wanted
}
