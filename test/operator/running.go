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

// Running is an operator that was started.
type Running struct {
	end   context.CancelFunc
	ended chan struct{}
	err   error
}

// Start starts an operator, with the manager of [NewManager].
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

// Ended is closed when the operator has ended.
func (r *Running) Ended() <-chan struct{} { return r.ended }

// Stop ends the operator, waits until it has, and returns what it ended with.
func (r *Running) Stop() error {
	r.end()
	<-r.ended
	return r.err
}

// AnnounceTime is how long an operator waits for observers on nodes, with what is rounded
// off. Where none is to come, a clock that is so much later saves the time.
const AnnounceTime = 4 * time.Second

// LaterClock is the machine's, and some time later when it is told so.
type LaterClock struct{ by atomic.Int64 }

// Now is the clock's time.
func (c *LaterClock) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// Since returns how long ago a time was.
func (c *LaterClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Passes has some time pass at once.
func (c *LaterClock) Passes(d time.Duration) { c.by.Add(int64(d)) }
