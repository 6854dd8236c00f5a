// SPDX-License-Identifier: Apache-2.0

// Package controllers holds the three reconcilers, for policies, nodes and Services, and
// the watches that wake the reconcilers.
package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/cpnp-dev/cpnp-operator/controllers/node"
	"github.com/cpnp-dev/cpnp-operator/controllers/policy"
	"github.com/cpnp-dev/cpnp-operator/controllers/service"
	"github.com/cpnp-dev/cpnp-operator/controllers/watch"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/follow"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Options let tests shorten long waits. The operator runs with the zero value.
type Options struct {
	// Clock tells the time. Nil means the clock of the machine.
	Clock clock.PassiveClock
	// ReadPatience is how long the first read of a kind of Calico may take before the status
	// reports the delay. Zero means the default of follow.Options.
	ReadPatience time.Duration
	// StageTime is the settle time of a write stage. Zero means stageTime.
	StageTime time.Duration
	// APIServerTime is how long an address must belong to an API server before the address
	// counts. Zero means apiServerTime.
	APIServerTime time.Duration
	// EvictionPause is how long evicted pods have to start on other nodes. Zero means
	// evictionPause.
	EvictionPause time.Duration
	// Memory is the memory of the operator, in bytes. Zero means the default of follow.Options.
	Memory int64
	// Own is the operator's pod; empty outside of a cluster.
	Own types.NamespacedName
}

// SetupWithManager adds the reconcilers to a manager.
func SetupWithManager(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := addIndexes(ctx, mgr); err != nil {
		return err
	}
	changes := make(chan event.GenericEvent, 1)
	follower, err := followCalico(mgr, o, changes)
	if err != nil {
		return err
	}
	configMaps, err := watch.AddConfigMaps(mgr)
	if err != nil {
		return err
	}
	own, ownPods, err := watch.AddOwnPods(mgr, o.Own)
	if err != nil {
		return err
	}
	observer := state.Observer{
		Cache: mgr.GetClient(), Stores: state.StoresOf(mgr.GetCache()), Live: mgr.GetAPIReader(),
		Backend:    func() backend.Live { return follower.Read() },
		BackendNow: func(ctx context.Context) (backend.Live, error) { return follower.ReadNow(ctx) },
		ConfigMaps: configMaps.Readers(), Own: own, Nodes: &state.NodeMemory{},
	}
	requests, confirmed, writing := policy.NewReportRequests(), &freshness.Confirmed{}, &repair.Writing{}
	repairer := repair.Repairer{
		Clock: o.Clock, History: drift.NewHistory(), Report: requests.Ask, Retries: &repair.Retries{}, Releases: &repair.Releases{},
	}

	quiet := repairer
	quiet.Report = func(string) {} // a requested report would cause an immediate retry
	if err := (&policy.Reconciler{
		Observe: observer, Client: freshness.NewClient(mgr.GetClient(), confirmed, o.Clock), Repairer: quiet,
		Judge:  judge.Calico{},
		Stages: &schedule.Stages{Time: cmp.Or(o.StageTime, timing.StageSettle)}, Confirmed: confirmed, Writing: writing,
		APIServers: &schedule.SteadyServers{After: cmp.Or(o.APIServerTime, timing.APIServerSteady)},
		Reporter: &policy.Reporter{
			Observe: observer, Client: mgr.GetClient(), Clock: repairer.Clock, History: repairer.History,
			Recorder: mgr.GetEventRecorder("cpnp-operator"),
		},
	}).SetupWithManager(mgr, policy.Sources{Requests: requests, Backend: changes, ConfigMaps: configMaps, OwnPods: ownPods}); err != nil {
		return fmt.Errorf("setting up the reconciler of policies: %w", err)
	}
	if err := (&node.Reconciler{
		Observe: observer, Clients: apply.NodeClients{Live: mgr.GetAPIReader(), Writer: mgr.GetClient()}, Repairer: repairer,
		Writing:  writing,
		Shelters: &node.Shelters{}, Evictions: &schedule.Evictions{}, EvictionPause: cmp.Or(o.EvictionPause, timing.EvictionPause),
	}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the reconciler of nodes: %w", err)
	}
	if err := (&service.Reconciler{
		Observe: observer, Client: mgr.GetClient(), Repairer: repairer, Writing: writing,
	}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the reconciler of services: %w", err)
	}
	return nil
}

func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	for _, index := range state.RequiredIndexes() {
		if err := mgr.GetFieldIndexer().IndexField(ctx, index.Object, index.Field, index.Value); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", index.Object, index.Field, err)
		}
	}
	return nil
}

// followCalico adds a follower of Calico's API to the manager, which signals changes.
func followCalico(mgr ctrl.Manager, o Options, changes chan<- event.GenericEvent) (*follow.Follower, error) {
	follower, err := follow.NewFollower(mgr.GetConfig(), follow.Options{
		Patience: o.ReadPatience, Memory: o.Memory, Changed: func() { policy.Signal(changes) },
	})
	if err != nil {
		return nil, fmt.Errorf("following the API of Calico: %w", err)
	}
	return follower, mgr.Add(follower)
}
