// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"encoding/json"
	"fmt"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// inTransition keeps allowed flows allowed until the matching denial is gone. For new
// intent, the writes first add what is newly allowed, and the removals later take the rest
// away. So a node that leaves the control plane can still reach itself until its endpoint
// is gone.
//
// Foreign changes are repaired at once.
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

// union returns an object that allows the live and the desired flows, and tells whether the
// desired object adds flows and drops flows. Only new intent needs a transition, and only
// for objects that allow flows.
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
		merged.Spec.Nets, adds, drops = joined(desired.Spec.Nets, live.Spec.Nets, func(net string) string { return net })
		both = merged
	case *v3.GlobalNetworkPolicy:
		live, ok := w.Live.(*v3.GlobalNetworkPolicy)
		if !ok || calico.IsDenyPolicy(desired) || desired.Spec.Selector != live.Spec.Selector {
			return nil, false, false
		}
		merged := desired.DeepCopy()
		merged.Spec.Ingress, adds, drops = joined(desired.Spec.Ingress, live.Spec.Ingress, textOf[v3.Rule])
		both = merged
	default:
		return nil, false, false
	}
	if err := plan.Stamp(both); err != nil { // cannot fail: the types are the operator's
		return nil, false, false
	}
	return both, adds, drops
}

// joined returns the distinct items of both lists, desired items first, and tells whether
// desired adds items to live and drops items from live. The key tells items apart. The time
// grows in proportion to the items, because a set may have the addresses of 5,000 nodes and
// as many foreign additions.
func joined[T any](desired, live []T, key func(T) string) (all []T, adds, drops bool) {
	wanted, there := sets.New[string](), sets.New[string]()
	for _, item := range live {
		there.Insert(key(item))
	}
	for _, item := range desired {
		is := key(item)
		adds = adds || !there.Has(is)
		if !wanted.Has(is) {
			all = append(all, item)
		}
		wanted.Insert(is)
	}
	for _, item := range live {
		is := key(item)
		if !wanted.Has(is) { // a network set must not contain an item twice
			drops, all = true, append(all, item)
			wanted.Insert(is)
		}
	}
	return all, adds, drops
}

// textOf returns a text for comparing values: equal values have equal texts.
func textOf[T any](value T) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%#v", value)
	}
	return string(text)
}
