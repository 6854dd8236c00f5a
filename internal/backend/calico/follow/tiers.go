// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

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

// endWatchesOf returns a function that starts watches that the renewal ends.
func (r *renewal) endWatchesOf(from cache.WatchFuncWithContext) cache.WatchFuncWithContext {
	return func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		due := r.nextRenewal()
		w, err := from(ctx, o)
		if err != nil {
			return nil, err
		}
		return endingWatch(w, due), nil
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
		time.AfterFunc(timing.CalicoTierLag, t.renew.endWatches)
	}
}
