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

// tierLag is the time from the appearance of a tier until policies are listed again.
//
// Calico's API server shows to a watch the policies of the tiers known at the start of
// the watch. The server ends all watches when a tier appears, but a watch that starts
// at once may still miss the tier, and misses the tier until the end of the watch: the
// server looks tiers up in a cache that may be delayed (v3.31, apiserver,
// registry/projectcalico/util, WatchManager and EnsureTierSelector).
const tierLag = time.Second

// renewal ends watches, so that all objects are listed again. The zero value is not
// ready. A renewal is safe for concurrent use.
type renewal struct {
	mu  sync.Mutex
	due chan struct{}
}

func newRenewal() *renewal { return &renewal{due: make(chan struct{})} }

// endWatches ends the current watches.
func (r *renewal) endWatches() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.due)
	r.due = make(chan struct{})
}

func (r *renewal) nextRenewal() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.due
}

// endWatchesOf returns a ListWatch with watches that the renewal ends.
func (r *renewal) endWatchesOf(from *cache.ListWatch) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: from.ListWithContext,
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			due := r.nextRenewal()
			w, err := from.WatchWithContext(ctx, o)
			if err != nil {
				return nil, err
			}
			return endingWatch(w, due), nil
		},
	}
}

// endingWatch passes the events of a watch on until the channel due is closed, and then
// ends with an error event that asks for a new list.
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

// tierNames are the names of the known tiers.
type tierNames struct {
	known sets.Set[string]
	renew *renewal
}

// setNames notes the current tiers. When a tier appears, policies are listed again; the
// tiers of the first call were there before.
func (t *tierNames) setNames(names sets.Set[string]) {
	appeared := t.known != nil && !t.known.IsSuperset(names)
	t.known = names
	if appeared {
		time.AfterFunc(tierLag, t.renew.endWatches)
	}
}
