// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/controllers"
)

// Running is a started operator.
type Running struct {
	end   context.CancelFunc
	ended chan struct{}
	err   error
}

// Start starts an operator with the manager of [NewManager].
func Start(config *rest.Config, o controllers.Options, change ...func(*ctrl.Options)) (*Running, error) {
	mgr, err := NewManager(config, change...)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	if err := controllers.SetupWithManager(ctx, mgr, o); err != nil {
		end()
		return nil, err
	}
	r := &Running{end: end, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = mgr.Start(ctx)
	}()
	return r, nil
}

// Ended returns a channel that is closed when the operator has ended.
func (r *Running) Ended() <-chan struct{} { return r.ended }

// Stop stops the operator, waits for the end, and returns the operator's error.
func (r *Running) Stop() error {
	r.end()
	<-r.ended
	return r.err
}

// AnnounceTime is how long an operator waits for observers on nodes, plus the loss by
// rounding. A test without observers sets the clock ahead by this time instead of waiting.
const AnnounceTime = 4 * time.Second

// LaterClock is the machine's clock plus an offset.
type LaterClock struct{ by atomic.Int64 }

// Now returns the time of the clock.
func (c *LaterClock) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// Since returns the time that has passed since t.
func (c *LaterClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Passes moves the clock ahead.
func (c *LaterClock) Passes(d time.Duration) { c.by.Add(int64(d)) }
