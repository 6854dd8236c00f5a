// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"errors"
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
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

var (
	// retries is how often a kind is tried again that can not be read.
	retries = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 15 * time.Second}
	// reflectorBackoff is for the few retries that reflectors keep to
	// themselves. They do not end when they are told to: they must be short.
	reflectorBackoff = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 5, Cap: time.Second}
)

// calm is how long an attempt must have lasted for the next one to come soon.
const calm = 10 * time.Second

// loop is a reflector's Run. It differs in that it knows of every failure, and
// can be told to try again.
func (r *reading) loop(p *progress, reflector *cache.Reflector) {
	defer r.change(func() bool { p.rest(); return false })
	// What a reflector logs is told as a problem; it would say so every ten seconds.
	silent := klog.NewContext(r.ctx, logr.Discard())
	delay := retries
	for {
		began := time.Now()
		err := reflector.ListAndWatchWithContext(silent)
		if r.ctx.Err() != nil {
			return
		}
		var again <-chan struct{}
		r.change(func() bool {
			p.ended(err)
			again = r.again
			return false
		})
		if err != nil {
			ctrllog.FromContext(r.ctx).V(1).Info("A kind can not be read", "kind", p.kind.name, "reason", cause(err))
		}
		if time.Since(began) > calm {
			delay = retries
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

// watched has the progress know when it is watched.
func (r *reading) watched(from *cache.ListWatch, p *progress) *cache.ListWatch {
	connects := func(connected bool) {
		r.change(func() bool { p.connects(connected); return false })
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			connects(false)
			return from.ListWithContext(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			connects(false)
			w, err := from.WatchWithContext(ctx, o)
			if err != nil {
				return nil, notForReflector(err)
			}
			connects(true)
			return w, nil
		},
	}
}

// hidden is an error that a reflector would keep to itself and try again, for
// as long as it takes. In the list that begins a watch that can not be stopped.
type hidden struct{ error }

func notForReflector(err error) error {
	if utilnet.IsConnectionRefused(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) {
		return hidden{err}
	}
	return err
}

func unhidden(err error) error {
	if h := (hidden{}); errors.As(err, &h) {
		return h.error
	}
	return err
}
