// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const (
	// pageSize is how many objects of a kind are asked for at once. Calico's own
	// API server answers with all of them.
	pageSize = 500
	// maxPages ends a list that a server never ends.
	maxPages = 1000
)

// Look asks the API server itself what there is of the kinds that the operator
// writes: no watch that is behind, and no old list, has a part in the answer. What
// else is known of Calico is as Read returns it.
func (f *Follower) Look(ctx context.Context) (state.Calico, error) {
	there := f.Read()
	if !there.Readable() {
		return there, nil
	}
	l := &looker{ctx: ctx, from: f.source}
	there.Tiers = lookAt[v3.Tier](l, v3.KindTier, "tiers")
	there.Policies = lookAt[v3.GlobalNetworkPolicy](l, v3.KindGlobalNetworkPolicy, "globalnetworkpolicies")
	there.Sets = lookAt[v3.GlobalNetworkSet](l, v3.KindGlobalNetworkSet, "globalnetworksets")
	there.Endpoints = lookAt[v3.HostEndpoint](l, v3.KindHostEndpoint, "hostendpoints")
	there.Felix = lookAt[v3.FelixConfiguration](l, v3.KindFelixConfiguration, "felixconfigurations")
	return there, l.err
}

// looker lists kinds until the first one fails.
type looker struct {
	ctx  context.Context // of one look
	from source
	err  error
}

// lookAt lists a kind, and returns its objects sorted by name, as a store would keep
// them.
func lookAt[T any, P interface {
	*T
	client.Object
}](l *looker, name, resource string) []T {
	if l.err != nil {
		return nil
	}
	var objects []T
	err := l.each(calicoKind(name, resource), func(object runtime.Object) error {
		if o, is := object.(P); is {
			kept, _ := whole[T, P](o)
			objects = append(objects, kept)
		}
		return nil
	})
	if err != nil {
		l.err = fmt.Errorf("asking the API server for the objects of kind %s: %w", name, err)
		return nil
	}
	slices.SortFunc(objects, func(a, b T) int { return cmp.Compare(P(&a).GetName(), P(&b).GetName()) })
	return objects
}

// each lists a kind page by page.
func (l *looker) each(k kind, do func(runtime.Object) error) error {
	from, next := l.from.listWatch(k), metav1.ListOptions{Limit: pageSize}
	for range maxPages {
		list, err := from.ListWithContext(l.ctx, next)
		if err != nil {
			return err
		}
		if err := apimeta.EachListItem(list, do); err != nil {
			return err
		}
		page, err := apimeta.ListAccessor(list)
		if err != nil {
			return err
		}
		if next.Continue = page.GetContinue(); next.Continue == "" {
			return nil
		}
	}
	return fmt.Errorf("the list has more than %d pages", maxPages)
}
