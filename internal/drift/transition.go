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
	if err := plan.Stamp(both); err != nil { // of types of ours: can not be
		return nil, false, false
	}
	return both, adds, drops
}

// joined returns what is in one of the two, each once, the desired ones first, and
// whether these have something beyond those that are there, and lack something of
// them. The key tells items apart. It takes time in proportion to the items: a set
// may have the addresses of 5,000 nodes, and as many that somebody has added.
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
		if !wanted.Has(is) { // an item that is there twice would be refused in a set
			drops, all = true, append(all, item)
			wanted.Insert(is)
		}
	}
	return all, adds, drops
}

// textOf returns what tells values apart: equal ones have equal texts.
func textOf[T any](value T) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%#v", value)
	}
	return string(text)
}
