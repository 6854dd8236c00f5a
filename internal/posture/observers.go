// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// ComponentsOf returns the components that are probed, sorted.
func ComponentsOf(postures []v1alpha1.ControlPlaneNodePosture) []string {
	names := sets.New[string]()
	for i := range postures {
		for _, target := range postures[i].Spec.Targets {
			names.Insert(string(target.Component))
		}
	}
	return sets.List(names)
}

// ObserversOf returns the observers of all postures, sorted.
func ObserversOf(postures []v1alpha1.ControlPlaneNodePosture) []string {
	names := sets.New[string]()
	for i := range postures {
		for _, observation := range postures[i].Status.Observers {
			names.Insert(observation.Name)
		}
	}
	return sets.List(names)
}

// Handshake is how long the latest handshake with a component took, from an observer.
type Handshake struct {
	Component      v1alpha1.PostureComponent
	Node, Observer string
	Took           time.Duration
}

// HandshakesOf returns the latest handshakes of fresh observations. Of several ports and
// addresses of a component, the slowest counts.
func HandshakesOf(postures []v1alpha1.ControlPlaneNodePosture, now time.Time) []Handshake {
	slowest := map[Handshake]time.Duration{} // by all but the duration
	for i := range postures {
		p := &postures[i]
		for j := range p.Status.Observers {
			observation := &p.Status.Observers[j]
			if !counts(p, observation, now) {
				continue
			}
			for k := range observation.Results {
				result := &observation.Results[k]
				if component := componentOf(p, result); component != "" && result.HandshakeMicroseconds > 0 {
					key := Handshake{Component: component, Node: p.Spec.Node, Observer: observation.Name}
					slowest[key] = max(slowest[key], time.Duration(result.HandshakeMicroseconds)*time.Microsecond)
				}
			}
		}
	}
	handshakes := make([]Handshake, 0, len(slowest))
	for h, took := range slowest {
		h.Took = took
		handshakes = append(handshakes, h)
	}
	slices.SortFunc(handshakes, func(a, b Handshake) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Observer, b.Observer))
	})
	return handshakes
}
