// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Options are the options of a Follower.
type Options struct {
	// Patience is the longest time to list a kind, and to list the kind again after the
	// watch has ended, before the delay is a problem. Zero is 30 seconds.
	Patience time.Duration
	// Memory is the memory of the operator, in bytes: a part of the memory is for the
	// objects of Calico. Zero is DefaultMemory.
	Memory int64
	// Changed is called after every change of the result of Read. The function must not
	// block, and may be called often and by several goroutines at a time.
	Changed func()
}

// Follower follows the API of Calico. A Follower is a manager's Runnable.
type Follower struct {
	options Options
	source  source
	running sync.WaitGroup

	// mu guards every field below, and the fields of the readings and of the kinds.
	mu         sync.Mutex
	services   *reading
	registered *store[apiService]
	served     *served    // nil while projectcalico.org/v3 is not served
	migrating  *migrating // nil while there are no DatastoreMigrations
	current    calico.Live
	stale      bool // the objects of current differ from the stores
}

// NewFollower returns a Follower that has not been started.
func NewFollower(config *rest.Config, o Options) (*Follower, error) {
	c, err := newClients(config)
	if err != nil {
		return nil, fmt.Errorf("making the clients for the API of Calico: %w", err)
	}
	return newFollowerFrom(c, o), nil
}

func newFollowerFrom(s source, o Options) *Follower {
	if o.Patience == 0 {
		o.Patience = timing.CalicoReadPatience
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return &Follower{options: o, source: s, current: calico.Live{Problem: findingOut, Settling: true}}
}

// NeedLeaderElection says that a replica follows while waiting to lead, and so is ready
// as soon as the replica leads.
func (*Follower) NeedLeaderElection() bool { return false }

// Start follows until the context ends, and leaves no goroutine behind. The error is
// always nil. Start is called once.
func (f *Follower) Start(ctx context.Context) error {
	f.mu.Lock()
	f.services = f.newReading(ctx)
	f.registered = followKind(f.services, apiServices, readAPIService)
	f.registered.hook = func() { f.adjustReadings(ctx) }
	f.services.start()
	f.mu.Unlock()

	<-ctx.Done()
	f.running.Wait()
	return nil
}

// Read returns the current knowledge, from memory. The slices and the objects belong to
// the Follower, which never changes them again.
func (f *Follower) Read() calico.Live {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stale {
		f.current.Tiers, f.current.Policies, f.current.Sets = nil, nil, nil
		f.current.Endpoints, f.current.Felix, f.current.Pools = nil, nil, nil
		if f.served != nil {
			f.served.copyObjects(&f.current)
		}
		f.stale = false
	}
	return f.current
}

// applyChange makes every change of the state: under the lock, and with a report to
// Changed afterwards if the result of Read is different. The function says whether
// objects changed.
func (f *Follower) applyChange(do func() bool) {
	f.mu.Lock()
	changed := do()
	f.stale = f.stale || changed
	mode, problem, tooLarge := f.servedMode(), f.findProblem(), f.tooLargeText()
	changed = changed || mode != f.current.Mode || problem != f.current.Problem || tooLarge != f.current.TooLarge
	f.current.Mode, f.current.Problem, f.current.Settling = mode, problem, isSettling(problem)
	f.current.TooLarge = tooLarge
	f.mu.Unlock()
	if changed {
		f.options.Changed()
	}
}

// adjustReadings starts and stops readings by the registered APIServices. A stopped
// reading ends in the background and changes no state.
func (f *Follower) adjustReadings(ctx context.Context) {
	if !f.registered.complete {
		return
	}
	f.adjustServed(ctx)
	f.adjustMigrating(ctx)
}

func (f *Follower) adjustServed(ctx context.Context) {
	service, found := f.registered.get(v3Service)
	if f.served != nil && (!found || !f.served.service.sameAPI(service)) {
		f.served.stop()
		f.served, f.stale = nil, true
	}
	switch {
	case !found:
	case f.served == nil:
		f.served = f.followServed(ctx, service)
	default:
		recovered := f.served.service.unavailable != "" && service.unavailable == ""
		f.served.service = service
		if recovered {
			f.served.retryNow()
		}
	}
}

func (f *Follower) adjustMigrating(ctx context.Context) {
	version := migrationVersion(f.registered.list())
	if f.migrating != nil && f.migrating.version != version {
		f.migrating.stop()
		f.migrating = nil
	}
	if f.migrating == nil && version != "" {
		f.migrating = f.followMigrations(ctx, version)
	}
}
