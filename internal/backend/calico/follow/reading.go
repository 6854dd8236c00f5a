// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"

	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reading reads some kinds together, until the reading is stopped or the context ends.
type reading struct {
	follower *Follower
	ctx      context.Context // of the goroutines
	cancel   context.CancelFunc
	kinds    []*progress
	loops    []func()
	again    chan struct{} // closed for a retry at once
	stopped  bool
}

func (f *Follower) newReading(ctx context.Context) *reading {
	r := &reading{follower: f, again: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// followKind adds a kind to a reading before the start. The function keep returns the
// stored part of an object, and whether to store the object.
func followKind[O client.Object, T any](r *reading, k kind, keep func(O) (T, bool)) *store[T] {
	return followWithRenewal(r, k, nil, keep)
}

// followWithRenewal does the same as followKind. If there is a renewal, the renewal
// ends the watches, and all objects are listed again.
func followWithRenewal[O client.Object, T any](r *reading, k kind, renew *renewal, keep func(O) (T, bool)) *store[T] {
	p := &progress{kind: k, patience: r.follower.options.Patience, change: r.applyChange, share: shareOf(k.name, r.follower.options.Memory)}
	s := &store[T]{progress: p, keep: func(object any) (T, bool) {
		if o, is := object.(O); is && (!p.ownOnly || isOwn(o)) {
			return keep(o)
		}
		return *new(T), false
	}}
	if p.share == 0 {
		p.keeps = func(object client.Object) bool { _, kept := s.keep(object); return kept }
	}
	reflector := cache.NewReflectorWithOptions(
		r.listWatchOf(p, renew), nil, s,
		cache.ReflectorOptions{Name: "calicowatch", TypeDescription: k.name, Backoff: &reflectorBackoff},
	)
	r.kinds = append(r.kinds, p)
	r.loops = append(r.loops, func() { r.runReflector(p, reflector) })
	return s
}

// The callers of start, stop and retryNow hold the lock of the Follower.
func (r *reading) start() {
	for _, loop := range r.loops {
		r.follower.running.Go(loop)
	}
}

// stop lets the goroutines end in the background, without further effect.
func (r *reading) stop() {
	r.stopped = true
	r.cancel()
	for _, p := range r.kinds {
		p.stopTimer()
	}
}

// retryNow ends the delay before the next attempts.
func (r *reading) retryNow() {
	close(r.again)
	r.again = make(chan struct{})
}

// applyChange calls applyChange of the Follower, and has no effect after the reading
// has been stopped.
func (r *reading) applyChange(do func() bool) {
	r.follower.applyChange(func() bool { return !r.stopped && do() })
}
