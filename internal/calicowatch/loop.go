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
	// retryBackoff is the delay between the attempts to read a kind.
	retryBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 15 * time.Second}
	// reflectorBackoff is the delay of the few retries inside of reflectors. The delay
	// must be short, because a retry of a reflector cannot be stopped.
	reflectorBackoff = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 5, Cap: time.Second}
)

// calmAttempt is the duration of an attempt after which the next attempt starts with
// the shortest delay.
const calmAttempt = 10 * time.Second

// runReflector does the work of a reflector's Run, but notes every failure, and can be
// told to retry at once.
func (r *reading) runReflector(p *progress, reflector *cache.Reflector) {
	defer r.applyChange(func() bool { p.stopTimer(); return false })
	// The problem reports the failures. The reflector would log each failure every ten
	// seconds.
	silent := klog.NewContext(r.ctx, logr.Discard())
	delay := retryBackoff
	for {
		began := time.Now()
		err := reflector.ListAndWatchWithContext(silent)
		if r.ctx.Err() != nil {
			return
		}
		var again <-chan struct{}
		r.applyChange(func() bool {
			p.setEnded(err)
			again = r.again
			return false
		})
		if err != nil {
			ctrllog.FromContext(r.ctx).V(1).Info("Cannot read a kind of Calico", "kind", p.kind.name, "reason", errorCause(err))
		}
		if time.Since(began) > calmAttempt {
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

// trackProgress notes the start and the end of watches in the progress.
func (r *reading) trackProgress(from *cache.ListWatch, p *progress) *cache.ListWatch {
	connects := func(connected bool) {
		r.applyChange(func() bool { p.setWatching(connected); return false })
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
				return nil, hideFromReflector(err)
			}
			connects(true)
			return w, nil
		},
	}
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
