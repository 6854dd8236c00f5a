// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// inTransition sees to it that what was allowed and still denied to others goes
// on until the denial has gone too: new intent first adds what it allows beyond
// what is there, and takes the rest away among the removals. So a node that
// leaves the control plane talks to itself until its endpoint is gone.
//
// What somebody else has changed is put right at once.
func inTransition(diff Diff) Diff {
	var writes []Write
	for _, w := range diff.Writes {
		both, adds, drops := union(w)
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

// union returns an object that allows what is there and what is desired, and
// whether that adds to, and drops from, what is there. Only new intent is in
// transition, and only of what allows.
func union(w Write) (both plan.Object, adds, drops bool) {
	if w.Live == nil || slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.State != v1alpha1.StatePending }) {
		return nil, false, false
	}
	switch desired := w.Desired.(type) {
	case *v3.GlobalNetworkSet:
		live, ok := w.Live.(*v3.GlobalNetworkSet)
		if !ok {
			return nil, false, false
		}
		merged := desired.DeepCopy()
		merged.Spec.Nets, adds, drops = joined(desired.Spec.Nets, live.Spec.Nets)
		both = merged
	case *v3.GlobalNetworkPolicy:
		live, ok := w.Live.(*v3.GlobalNetworkPolicy)
		if !ok || calico.Denies(desired) || desired.Spec.Selector != live.Spec.Selector {
			return nil, false, false
		}
		merged := desired.DeepCopy()
		merged.Spec.Ingress, adds, drops = joined(desired.Spec.Ingress, live.Spec.Ingress)
		both = merged
	default:
		return nil, false, false
	}
	if err := plan.Stamp(both); err != nil { // of types of ours: can not be
		return nil, false, false
	}
	return both, adds, drops
}

// joined returns what is in one of the two, and whether the desired ones have
// something beyond those that are there, and lack something of them.
func joined[T any](desired, live []T) (all []T, adds, drops bool) {
	all = slices.Clone(desired)
	in := func(list []T, item T) bool {
		return slices.ContainsFunc(list, func(other T) bool { return equality.Semantic.DeepEqual(item, other) })
	}
	for _, item := range live {
		if !in(desired, item) {
			drops = true
		}
		if !in(all, item) { // an item that is there twice would be refused in a set
			all = append(all, item)
		}
	}
	for _, item := range desired {
		adds = adds || !in(live, item)
	}
	return all, adds, drops
}
