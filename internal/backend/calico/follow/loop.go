// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

var (
	// retryBackoff is the delay between the attempts to read a kind.
	retryBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 15 * time.Second}
	// reflectorBackoff is the delay of the few retries inside of reflectors. The delay
	// must be short, because a retry of a reflector cannot be stopped.
	reflectorBackoff = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 5, Cap: time.Second}
)

// runReflector does the work of a reflector's Run, but notes every failure, and can be
// told to retry at once.
func (r *reading) runReflector(p *progress, reflector *cache.Reflector) {
	defer r.applyChange(func() bool { p.stopTimer(); return false })
	delay := retryBackoff
	for {
		began := time.Now()
		err := r.attempt(p, reflector)
		if r.ctx.Err() != nil {
			return
		}
		var again <-chan struct{}
		switched := false
		r.applyChange(func() bool {
			if switched = p.switched; switched {
				err = nil
			}
			p.setEnded(err)
			again = r.again
			return false
		})
		if switched {
			continue
		}
		if err != nil {
			ctrllog.FromContext(r.ctx).V(1).Info("Cannot read a kind of Calico", "kind", p.kind.name, "reason", errorCause(err))
		}
		if time.Since(began) > timing.CalicoCalmAttempt {
			delay = retryBackoff
		}
		timer := time.NewTimer(delay.Step())
		select {
		case <-r.ctx.Done():
		case <-again:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// attempt lists and watches a kind until that fails, or until other objects are to be
// read.
func (r *reading) attempt(p *progress, reflector *cache.Reflector) error {
	// The problem reports the failures. The reflector would log each failure every ten
	// seconds.
	ctx, end := context.WithCancel(klog.NewContext(r.ctx, logr.Discard()))
	ownOnly := false
	r.applyChange(func() bool {
		p.switched, p.end, ownOnly = false, end, p.ownOnly
		return false
	})
	var measuring sync.WaitGroup
	if ownOnly {
		measuring.Go(func() { r.measureUntilFit(ctx, p) })
	}
	err := reflector.ListAndWatchWithContext(ctx)
	end()
	measuring.Wait()
	return err
}

// measureUntilFit has all objects of a kind read again as soon as the objects fit.
func (r *reading) measureUntilFit(ctx context.Context, p *progress) {
	for delay := timing.CalicoMeasureFirst; ; delay = min(2*delay, timing.CalicoMeasureLast) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		total := int64(0)
		_, err := r.gather(ctx, p, false, func(_ client.Object, size int64) { total += size })
		if err == nil && total <= p.share*fitParts/fitWhole {
			r.applyChange(func() bool { p.readAll(); return false })
			return
		}
	}
}

// gather lists a kind, and calls do with the kept part of each object, until the objects
// are too large. An already kept object is not kept a second time.
func (r *reading) gather(ctx context.Context, p *progress, ownOnly bool, do func(object client.Object, size int64)) (string, error) {
	selected := metav1.ListOptions{}
	if ownOnly {
		selected = ownObjects(p.kind)
	}
	var all amount
	version, err := r.follower.source.list(ctx, p.kind, selected, readFactor*p.share, func(listed runtime.Object) error {
		object, is := listed.(client.Object)
		switch {
		case !is || ownOnly && !isOwn(object) || p.keeps != nil && !p.keeps(object):
			return nil
		case p.share == 0:
			do(object, 0)
			return nil
		}
		if kept := p.known(object); kept != nil {
			object = kept
		} else {
			reduce(object)
		}
		size := sizeOf(object)
		if all.add(object.GetName(), size); all.bytes > p.share {
			return &tooLarge{amount: all}
		}
		do(object, size)
		return nil
	})
	if errors.Is(err, errAnswerTooLong) {
		err = &tooLarge{amount: all, unread: true}
	}
	return version, err
}

// listWatch is not for lists sent as a watch, because the bytes of such lists cannot be
// bounded.
type listWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported tells reflectors to ask for lists.
func (listWatch) IsWatchListSemanticsUnSupported() bool { return true }

// listWatchOf lists and watches a kind, and notes the start and the end of watches in
// the progress.
func (r *reading) listWatchOf(p *progress, renew *renewal) listWatch {
	connects := func(connected bool) (ownOnly bool) {
		r.applyChange(func() bool {
			p.setWatching(connected)
			ownOnly = p.ownOnly
			return false
		})
		return ownOnly
	}
	watches := func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		return r.follower.source.watch(ctx, p.kind, o)
	}
	if renew != nil {
		watches = renew.endWatchesOf(watches)
	}
	return listWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			return r.list(ctx, p, connects(false))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if connects(false) {
				own := ownObjects(p.kind)
				o.LabelSelector, o.FieldSelector = own.LabelSelector, own.FieldSelector
			}
			w, err := watches(ctx, o)
			if err != nil {
				return nil, hideFromReflector(err)
			}
			connects(true)
			return w, nil
		},
	}}
}

// list returns the list of a kind for the store.
func (r *reading) list(ctx context.Context, p *progress, ownOnly bool) (runtime.Object, error) {
	r.applyChange(func() bool { p.listedOwn = ownOnly; return false })
	list := &metav1.List{}
	version, err := r.gather(ctx, p, ownOnly, func(object client.Object, _ int64) {
		list.Items = append(list.Items, runtime.RawExtension{Object: object})
	})
	if found, is := asTooLarge(err); is {
		r.applyChange(func() bool { p.setTooLarge(found, ownOnly); return false })
	}
	list.ResourceVersion = version
	return list, err
}

// hidden wraps an error that a reflector would retry itself without an end. In the list
// at the start of a watch, such retries cannot be stopped.
type hidden struct{ error }

func hideFromReflector(err error) error {
	if utilnet.IsConnectionRefused(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) {
		return hidden{err}
	}
	return err
}

func unwrapHidden(err error) error {
	if h := (hidden{}); errors.As(err, &h) {
		return h.error
	}
	return err
}
