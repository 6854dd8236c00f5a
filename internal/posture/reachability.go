// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Attempt is one new result.
type Attempt struct {
	Node, Observer string
	Component      v1alpha1.PostureComponent
	Result         v1alpha1.TLSResult
	// Changed tells that the port was reached before and is not any more, or the other way
	// round. The first result of an observer is no change.
	Changed bool
}

// Describe returns the observer and the target of the attempt, as a part of a sentence.
func (a Attempt) Describe() string {
	at := net.JoinHostPort(a.Result.Address, strconv.Itoa(int(a.Result.Port)))
	return fmt.Sprintf("%s on %s (%s) from %s: %s", a.Component, a.Node, at, a.Observer, a.Result.Outcome)
}

// IsReached tells whether the port answered.
func (a Attempt) IsReached() bool { return isReached(a.Result) }

func isReached(r v1alpha1.TLSResult) bool {
	return r.Outcome == v1alpha1.TLSOpen || r.Outcome == v1alpha1.TLSNotTLS
}

// Attempts remembers the seen results of observers: each result then counts once in
// metrics, and each change of reachability once in events. The zero value is ready to use.
type Attempts struct {
	mu   sync.Mutex
	seen map[types.UID]map[string]round
}

// round is the last round of an observer.
type round struct {
	of      roundKey
	reached map[string]bool
}

// roundKey identifies a round of an observer. Times have a resolution of a second, and new
// targets are probed at once, possibly within the second of the round before.
type roundKey struct{ second, generation int64 }

// New returns the results of the posture that were not returned before. At the first look
// at a posture, New returns no results: before a restart of the operator, these results
// have been counted already.
func (a *Attempts) New(p *v1alpha1.ControlPlaneNodePosture) []Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	before, known := a.seen[p.UID]
	now := make(map[string]round, len(p.Status.Observers))
	var fresh []Attempt
	for _, o := range p.Status.Observers {
		if o.Time == nil {
			continue
		}
		last, seenBefore := before[o.Name]
		this := round{roundKey{o.Time.Unix(), o.ObservedGeneration}, map[string]bool{}}
		for _, result := range o.Results {
			component := componentOf(p, &result)
			if component == "" {
				continue // a target of the past
			}
			key := net.JoinHostPort(result.Address, strconv.Itoa(int(result.Port)))
			this.reached[key] = isReached(result)
			if !known || seenBefore && last.of == this.of {
				continue
			}
			was, had := last.reached[key]
			fresh = append(fresh, Attempt{p.Spec.Node, o.Name, component, result, had && was != this.reached[key]})
		}
		now[o.Name] = this
	}
	if a.seen == nil {
		a.seen = map[types.UID]map[string]round{}
	}
	a.seen[p.UID] = now
	return fresh
}

// KeepOnly forgets all other postures.
func (a *Attempts) KeepOnly(postures []v1alpha1.ControlPlaneNodePosture) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid := range a.seen {
		if !slices.ContainsFunc(postures, func(p v1alpha1.ControlPlaneNodePosture) bool { return p.UID == uid }) {
			delete(a.seen, uid)
		}
	}
}

// componentOf returns the component of the target of a result; empty if there is no such
// target.
func componentOf(p *v1alpha1.ControlPlaneNodePosture, result *v1alpha1.TLSResult) v1alpha1.PostureComponent {
	i := slices.IndexFunc(p.Spec.Targets, func(t v1alpha1.TLSTarget) bool { return t.Address == result.Address && t.Port == result.Port })
	if i < 0 {
		return ""
	}
	return p.Spec.Targets[i].Component
}
