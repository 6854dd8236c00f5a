// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"

	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reading is some kinds that are read together, until it is stopped or its
// context ends.
type reading struct {
	follower *Follower
	ctx      context.Context // of its goroutines
	cancel   context.CancelFunc
	kinds    []*progress
	loops    []func()
	again    chan struct{} // closed when it is time to try again
	stopped  bool
}

func (f *Follower) newReading(ctx context.Context) *reading {
	r := &reading{follower: f, again: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// follow adds a kind to a reading that has not started. Of each object the
// store keeps what the function returns, if it says so.
func follow[O client.Object, T any](r *reading, k kind, keep func(O) (T, bool)) *store[T] {
	return followAs(r, k, nil, keep)
}

// followAs is follow; if there is a renewal, everything is listed anew when that says
// so.
func followAs[O client.Object, T any](r *reading, k kind, renew *renewal, keep func(O) (T, bool)) *store[T] {
	p := &progress{kind: k, patience: r.follower.options.Patience, change: r.change}
	s := &store[T]{progress: p, keep: func(object any) (T, bool) {
		if o, is := object.(O); is {
			return keep(o)
		}
		return *new(T), false
	}}
	from := r.follower.source.listWatch(k)
	if renew != nil {
		from = renew.of(from)
	}
	reflector := cache.NewReflectorWithOptions(
		r.watched(from, p), nil, s,
		cache.ReflectorOptions{Name: "calicowatch", TypeDescription: k.name, Backoff: &reflectorBackoff},
	)
	r.kinds = append(r.kinds, p)
	r.loops = append(r.loops, func() { r.loop(p, reflector) })
	return s
}

// start, stop and retry expect the Follower's lock to be held.
func (r *reading) start() {
	for _, loop := range r.loops {
		r.follower.running.Go(loop)
	}
}

// stop lets the goroutines end, in their own time. Nobody hears of them any more.
func (r *reading) stop() {
	r.stopped = true
	r.cancel()
	for _, p := range r.kinds {
		p.rest()
	}
}

// retry ends the waiting for the next attempt of those that failed.
func (r *reading) retry() {
	close(r.again)
	r.again = make(chan struct{})
}

// change is the Follower's as long as the reading has not been stopped.
func (r *reading) change(do func() bool) {
	r.follower.change(func() bool { return !r.stopped && do() })
}
