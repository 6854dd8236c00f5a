// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// tierLag is how long after there is a new tier its policies are listed anew.
//
// Calico's API server shows to a watch the policies of those tiers that it knew when
// the watch began. It ends all watches when there is a new tier, but a watch that
// begins at once may still not show it, and then for as long as it lasts: what it goes
// by is a cache of its own, which may be behind (v3.31, apiserver,
// registry/projectcalico/util, WatchManager and EnsureTierSelector).
const tierLag = time.Second

// renewal ends watches, so that everything is listed anew. The zero value is not
// ready; it is safe for concurrent use.
type renewal struct {
	mu  sync.Mutex
	due chan struct{}
}

func newRenewal() *renewal { return &renewal{due: make(chan struct{})} }

// renew ends the watches that there are.
func (r *renewal) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.due)
	r.due = make(chan struct{})
}

func (r *renewal) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.due
}

// of returns what lists and watches so that its watches are ended.
func (r *renewal) of(from *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: from.ListWithContext,
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			due := r.next()
			w, err := from.WatchWithContext(ctx, o)
			if err != nil {
				return nil, err
			}
			return endingWatch(w, due), nil
		},
	}
}

// endingWatch passes on what a watch tells until it is time to list anew, which it
// then says.
func endingWatch(w watch.Interface, due <-chan struct{}) watch.Interface {
	events := make(chan watch.Event)
	passed := watch.NewProxyWatcher(events)
	go func() {
		defer close(events)
		defer w.Stop()
		pass := func(event watch.Event) bool {
			select {
			case events <- event:
				return true
			case <-passed.StopChan():
				return false
			}
		}
		for {
			select {
			case event, open := <-w.ResultChan():
				if !open || !pass(event) {
					return
				}
			case <-due:
				pass(watch.Event{Type: watch.Error, Object: &apierrors.NewResourceExpired("there is a new tier").ErrStatus})
				return
			case <-passed.StopChan():
				return
			}
		}
	}()
	return passed
}

// tierNames are those of the tiers that have been there.
type tierNames struct {
	known sets.Set[string]
	renew *renewal
}

// are is told of the tiers that there are. It has policies listed anew when there is
// a new one; the first ones that there are were there before.
func (t *tierNames) are(names sets.Set[string]) {
	appeared := t.known != nil && !t.known.IsSuperset(names)
	t.known = names
	if appeared {
		time.AfterFunc(tierLag, t.renew.renew)
	}
}
