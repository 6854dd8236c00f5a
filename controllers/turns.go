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

// cacheTime is how long what was written may take to come back through the cache.
// What has not come by then was not written.
const cacheTime = 10 * time.Second

// turns has the policies begin nodes one after the other, so that each sees which
// nodes others have under way, also those that were begun a moment ago. The zero
// value is ready; it is safe for concurrent use.
type turns struct {
	mu    sync.Mutex
	begun map[turn]time.Time
}

type turn struct{ policy, node string }

// decide decides how the nodes of a policy go on, and returns after what time what
// it did not see in the cache is no reason to wait any more.
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

// unseen adds what was begun and is not in the cache yet, and returns for how long
// others may still wait for that.
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

// underWay says whether a node has rules that it may not keep: new ones that are
// being tried, or such as are still to be taken back.
func underWay(e *v1alpha1.ControlPlaneNodeEnactment, endpoints []v3.HostEndpoint) bool {
	switch rollout.PhaseOf(e) {
	case v1alpha1.PhaseProgressing:
		return true
	case "", v1alpha1.PhaseEnforced:
		return false // not begun; or done, and put right if something takes its rules away
	}
	wanted, _ := rollout.RulesetFor(e)
	live := liveVersion(e.Spec.Policy, e.Spec.Node, wanted, endpoints)
	return live != "" && live != wanted
}
