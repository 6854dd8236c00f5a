// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// rounds remembers the last round of each posture: no round is then repeated after a failed
// write of the result, or after a foreign removal of the result. The zero value is ready to
// use.
type rounds struct {
	mutex  sync.Mutex
	byName map[string]finishedRound
}

// finishedRound is a round of one generation of a posture.
type finishedRound struct {
	uid         types.UID
	observation v1alpha1.TLSObservation
	written     bool
}

// last returns the last round of the present generation.
func (r *rounds) last(p *v1alpha1.ControlPlaneNodePosture) (round finishedRound, found bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	round, found = r.byName[p.Name]
	if round.uid != p.UID || round.observation.ObservedGeneration != p.Generation {
		return finishedRound{}, false
	}
	return round, found
}

// keep remembers a round that is not written yet.
func (r *rounds) keep(p *v1alpha1.ControlPlaneNodePosture, observation v1alpha1.TLSObservation) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.byName == nil {
		r.byName = map[string]finishedRound{}
	}
	r.byName[p.Name] = finishedRound{uid: p.UID, observation: observation}
}

// markWritten notes that the last round is written.
func (r *rounds) markWritten(p *v1alpha1.ControlPlaneNodePosture) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if round, found := r.byName[p.Name]; found && round.uid == p.UID {
		round.written = true
		r.byName[p.Name] = round
	}
}

// forget forgets a posture that is gone.
func (r *rounds) forget(name string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.byName, name)
}
