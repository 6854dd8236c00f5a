// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// defaultPatience is longer than any server takes that is well.
const defaultPatience = 30 * time.Second

// Options are what can be set of a Follower.
type Options struct {
	// Patience is how long a kind may take to be listed, and to be listed again
	// after its watch has ended, before it is a problem. Zero is 30 seconds.
	Patience time.Duration
	// Changed is called after every change of what Read returns. It must not
	// block, and may be called by several goroutines at a time, and often.
	Changed func()
}

// Follower follows the API of Calico. It is a manager's Runnable.
type Follower struct {
	options Options
	source  source
	running sync.WaitGroup

	// mu guards everything below, and what the readings and their kinds hold.
	mu         sync.Mutex
	services   *reading
	registered *store[apiService]
	served     *served    // nil while projectcalico.org/v3 is not served
	migrating  *migrating // nil while there are no such objects
	current    state.Calico
	stale      bool // the objects of current are not those of the stores
}

// New returns a Follower that has not begun.
func New(config *rest.Config, o Options) (*Follower, error) {
	c, err := newClients(config)
	if err != nil {
		return nil, fmt.Errorf("making the clients for the API of Calico: %w", err)
	}
	return newFollower(c, o), nil
}

func newFollower(s source, o Options) *Follower {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	return &Follower{options: o, source: s, current: state.Calico{Problem: findingOut, Settling: true}}
}

// NeedLeaderElection says that a replica that waits to lead follows too: it is
// ready when its turn comes.
func (*Follower) NeedLeaderElection() bool { return false }

// Start follows until the context ends, and then leaves no goroutine. Its error
// is always nil. It is called once.
func (f *Follower) Start(ctx context.Context) error {
	f.mu.Lock()
	f.services = f.newReading(ctx)
	f.registered = follow(f.services, apiServices, readAPIService)
	f.registered.hook = func() { f.adjust(ctx) }
	f.services.start()
	f.mu.Unlock()

	<-ctx.Done()
	f.running.Wait()
	return nil
}

// Read returns what is known now, from memory. The slices and their objects
// belong to the Follower, which never changes them again.
func (f *Follower) Read() state.Calico {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stale {
		f.current.Tiers, f.current.Policies, f.current.Sets = nil, nil, nil
		f.current.Endpoints, f.current.Felix, f.current.Pools = nil, nil, nil
		if f.served != nil {
			f.served.read(&f.current)
		}
		f.stale = false
	}
	return f.current
}

// change is how everything changes: under the lock, and told of afterwards if
// Read returns something else. The function says whether objects changed.
func (f *Follower) change(do func() bool) {
	f.mu.Lock()
	changed := do()
	f.stale = f.stale || changed
	mode, problem := f.mode(), f.problem()
	changed = changed || mode != f.current.Mode || problem != f.current.Problem
	f.current.Mode, f.current.Problem, f.current.Settling = mode, problem, settling(problem)
	f.mu.Unlock()
	if changed {
		f.options.Changed()
	}
}

// adjust starts and stops the readings as what is registered asks for. One that
// stops ends by itself, and is heard no more.
func (f *Follower) adjust(ctx context.Context) {
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
		f.served = f.readServed(ctx, service)
	default:
		recovered := f.served.service.unavailable != "" && service.unavailable == ""
		f.served.service = service
		if recovered {
			f.served.retry()
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
		f.migrating = f.readMigrations(ctx, version)
	}
}
