// SPDX-License-Identifier: Apache-2.0

// Package controllers puts the reconcilers together, of policies, nodes, Services and
// postures. Each reconciler has a folder, with the watches that wake it.
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
	"github.com/cpnp-dev/cpnp-operator/controllers/policyreport"
	"github.com/cpnp-dev/cpnp-operator/controllers/posture"
	"github.com/cpnp-dev/cpnp-operator/controllers/service"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/follow"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	reports "github.com/cpnp-dev/cpnp-operator/internal/policyreport"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/reporter"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// Options let tests shorten long waits. The operator runs with the zero value.
type Options struct {
	// Clock tells the time. Nil means the clock of the machine.
	Clock clock.PassiveClock
	// ReadPatience is how long the first read of a kind of Calico may take before the status
	// reports the delay. Zero means the default of follow.Options.
	ReadPatience time.Duration
	// StageTime is the settle time of a write stage. Zero means timing.StageSettle.
	StageTime time.Duration
	// APIServerTime is how long an address must belong to an API server before the address
	// counts. Zero means timing.APIServerSteady.
	APIServerTime time.Duration
	// EvictionPause is how long evicted pods have to start on other nodes. Zero means
	// timing.EvictionPause.
	EvictionPause time.Duration
	// Memory is the memory of the operator, in bytes. Zero means the default of follow.Options.
	Memory int64
	// Reports writes a policy report for each policy.
	Reports bool
	// Own is the operator's pod; empty outside of a cluster.
	Own types.NamespacedName
}

// SetupWithManager adds the reconcilers to a manager.
func SetupWithManager(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := state.AddIndexes(ctx, mgr.GetCache()); err != nil {
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
		ConfigMaps: configMaps.Readers(), Own: own, Nodes: &state.NodeMemory{}, WithoutPostures: !probe.ServesPostures(mgr),
	}
	backups := &backup.Memory{Clock: o.Clock}
	requests, confirmed, echoes, writing := policy.NewReportRequests(), &freshness.Confirmed{}, &freshness.Echoes{}, &repair.Writing{}
	repairer := repair.Repairer{
		Clock: o.Clock, History: drift.NewHistory(), Report: requests.Ask, Retries: &repair.Retries{}, Releases: &repair.Releases{},
	}

	quiet := repairer
	quiet.Report = func(string) {} // a requested report would cause an immediate retry
	if err := (&policy.Reconciler{
		Observe: observer, Client: freshness.NewClient(mgr.GetClient(), confirmed, echoes, o.Clock), Repairer: quiet,
		Assessor:  pipeline.Assessor{Judge: judge.Calico{}},
		Rollouts:  pipeline.Rollouts{Stages: &schedule.Stages{Time: cmp.Or(o.StageTime, timing.StageSettle)}},
		Confirmed: confirmed, Writing: writing,
		APIServers: &schedule.SteadyServers{After: cmp.Or(o.APIServerTime, timing.APIServerSteady)},
		Reporter: &reporter.Reporter{
			Observe: observer, Client: mgr.GetClient(), Clock: repairer.Clock, History: repairer.History, Backups: backups,
			Recorder: mgr.GetEventRecorder("cpnp-operator"),
		},
	}).SetupWithManager(mgr, policy.Sources{
		Requests: requests, Echoes: echoes, Backend: changes, ConfigMaps: configMaps, OwnPods: ownPods,
	}); err != nil {
		return fmt.Errorf("setting up the reconciler of policies: %w", err)
	}
	if err := (&node.Reconciler{
		Observe: observer, Clients: apply.NodeClients{Live: mgr.GetAPIReader(), Writer: mgr.GetClient()}, Repairer: repairer,
		Writing:  writing,
		Shelters: &schedule.Shelters{}, Evictions: &schedule.Evictions{}, EvictionPause: cmp.Or(o.EvictionPause, timing.EvictionPause),
	}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the reconciler of nodes: %w", err)
	}
	if err := (&service.Reconciler{
		Observe: observer, Client: mgr.GetClient(), Repairer: repairer, Writing: writing,
	}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the reconciler of services: %w", err)
	}
	return setupPosture(mgr, o, observer, &backup.Poller{Live: mgr.GetAPIReader(), Memory: backups}, requests.Ask)
}

// setupPosture adds the reconcilers of what is only reported.
func setupPosture(mgr ctrl.Manager, o Options, observer state.Observer, backups *backup.Poller, report func(policy string)) error {
	if err := (&posture.Reconciler{
		Observe: observer, Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("cpnp-operator"), Clock: o.Clock,
		Backups: backups, Report: report,
	}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the reconciler of postures: %w", err)
	}
	if !o.Reports {
		return nil
	}
	writer := &reports.Writer{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: o.Clock}
	if err := (&policyreport.Reconciler{Client: mgr.GetClient(), Writer: writer}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the reconciler of policy reports: %w", err)
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
