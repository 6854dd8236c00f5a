// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"encoding/json"
	"fmt"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Merge returns a network set, or a policy that allows, with the networks or rules of the
// desired and of the live object.
func (Kinds) Merge(desired, live backend.Object) (merged backend.Object, adds, drops bool) {
	switch desired := desired.(type) {
	case *v3.GlobalNetworkSet:
		live, ok := live.(*v3.GlobalNetworkSet)
		if !ok {
			return nil, false, false
		}
		both := desired.DeepCopy()
		both.Spec.Nets, adds, drops = joinItems(desired.Spec.Nets, live.Spec.Nets, func(net string) string { return net })
		return both, adds, drops
	case *v3.GlobalNetworkPolicy:
		live, ok := live.(*v3.GlobalNetworkPolicy)
		if !ok || IsDenyPolicy(desired) || desired.Spec.Selector != live.Spec.Selector {
			return nil, false, false
		}
		both := desired.DeepCopy()
		both.Spec.Ingress, adds, drops = joinItems(desired.Spec.Ingress, live.Spec.Ingress, textOf[v3.Rule])
		return both, adds, drops
	}
	return nil, false, false
}

// joinItems returns the distinct items of both lists, desired items first, and tells whether
// desired adds items to live and drops items from live. The key tells items apart. The time
// grows in proportion to the items, because a set may have the addresses of 5,000 nodes and
// as many foreign additions.
func joinItems[T any](desired, live []T, key func(T) string) (all []T, adds, drops bool) {
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
