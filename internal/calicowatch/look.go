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
	// pageSize is the number of objects in a page. Calico's own API server ignores the
	// limit and answers with all objects.
	pageSize = 500
	// maxPages ends a list of a server that never ends the list.
	maxPages = 1000
)

// ReadNow asks the API server for the kinds that the operator writes, so that neither a
// delayed watch nor an old list has a part in the answer. All else is as in the result
// of Read.
func (f *Follower) ReadNow(ctx context.Context) (state.Calico, error) {
	there := f.Read()
	if !there.IsReadable() {
		return there, nil
	}
	l := &liveLister{ctx: ctx, from: f.source}
	there.Tiers = listObjects[v3.Tier](l, v3.KindTier, "tiers")
	there.Policies = listObjects[v3.GlobalNetworkPolicy](l, v3.KindGlobalNetworkPolicy, "globalnetworkpolicies")
	there.Sets = listObjects[v3.GlobalNetworkSet](l, v3.KindGlobalNetworkSet, "globalnetworksets")
	there.Endpoints = listObjects[v3.HostEndpoint](l, v3.KindHostEndpoint, "hostendpoints")
	there.Felix = listObjects[v3.FelixConfiguration](l, v3.KindFelixConfiguration, "felixconfigurations")
	return there, l.err
}

// liveLister lists kinds until the first error.
type liveLister struct {
	ctx  context.Context // of one call of ReadNow
	from source
	err  error
}

// listObjects lists a kind, and returns the objects sorted by name, in the form that a
// store keeps.
func listObjects[T any, P interface {
	*T
	client.Object
}](l *liveLister, name, resource string) []T {
	if l.err != nil {
		return nil
	}
	var objects []T
	err := l.forEachObject(calicoKind(name, resource), func(object runtime.Object) error {
		if o, is := object.(P); is {
			kept, _ := keepWhole[T, P](o)
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

// forEachObject lists a kind page by page.
func (l *liveLister) forEachObject(k kind, do func(runtime.Object) error) error {
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
