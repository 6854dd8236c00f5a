// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// ReadNow asks the API server for the kinds written by the operator, so neither a delayed
// watch nor a stale list has a part in the answer. All else is as in the result of Read.
func (f *Follower) ReadNow(ctx context.Context) (calico.Live, error) {
	there := f.Read()
	f.mu.Lock()
	s := f.served
	f.mu.Unlock()
	if !there.IsReadable() || s == nil {
		return there, nil
	}
	l := &liveLister{ctx: ctx, reading: s.reading}
	l.noteIfOwnOnly(s.pools.progress)
	there.Tiers = listObjects(l, s.tiers)
	there.Policies = listObjects(l, s.policies)
	there.Sets = listObjects(l, s.sets)
	there.Endpoints = listObjects(l, s.endpoints)
	there.Felix = listObjects(l, s.felix)
	there.TooLarge = tooLargeText(f.options.Memory, l.incomplete)
	return there, l.err
}

// liveLister lists kinds until the first error.
type liveLister struct {
	ctx context.Context // of one call of ReadNow
	*reading
	incomplete []*progress // copies of those of the kinds with own objects only
	err        error
}

// noteIfOwnOnly says whether only own objects of a kind are read, and notes the kind.
func (l *liveLister) noteIfOwnOnly(p *progress) (ownOnly bool) {
	l.follower.mu.Lock()
	defer l.follower.mu.Unlock()
	if p.ownOnly {
		l.incomplete = append(l.incomplete, &progress{kind: p.kind, share: p.share, tooLarge: p.tooLarge})
	}
	return p.ownOnly
}

// listObjects lists a kind, and returns the objects sorted by name, in the form that a
// store keeps. If the objects are too large, the own objects are listed instead, also by
// the follower from then on.
func listObjects[T any, P interface {
	*T
	client.Object
}](l *liveLister, s *store[T]) []T {
	if l.err != nil {
		return nil
	}
	ownOnly := l.noteIfOwnOnly(s.progress)
	objects, err := gatherObjects[T, P](l, s.progress, ownOnly)
	if found, is := asTooLarge(err); is && !ownOnly {
		l.applyChange(func() bool { s.setTooLarge(found, ownOnly); return false })
		l.incomplete = append(l.incomplete, &progress{kind: s.kind, share: s.share, tooLarge: found})
		objects, err = gatherObjects[T, P](l, s.progress, true)
	}
	if err != nil {
		l.err = fmt.Errorf("asking the API server for the objects of kind %s: %w", s.kind.name, err)
		return nil
	}
	slices.SortFunc(objects, func(a, b T) int { return cmp.Compare(P(&a).GetName(), P(&b).GetName()) })
	return objects
}

func gatherObjects[T any, P interface {
	*T
	client.Object
}](l *liveLister, p *progress, ownOnly bool) (objects []T, err error) {
	_, err = l.gather(l.ctx, p, ownOnly, func(object client.Object, _ int64) {
		if o, is := object.(P); is {
			objects = append(objects, *o)
		}
	})
	return objects, err
}
