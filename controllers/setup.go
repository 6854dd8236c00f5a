// SPDX-License-Identifier: Apache-2.0

// Package controllers holds the three reconcilers, for policies, nodes and Services, and
// the watches that wake the reconcilers.
package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/calicowatch"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// How many objects of a kind are reconciled at once. Repairs of different objects are
// independent of each other; the repairs of one policy are not.
const (
	nodeWorkers    = 4
	serviceWorkers = 16
)

// Options let tests shorten long waits. The operator runs with the zero value.
type Options struct {
	// Clock tells the time. Nil means the clock of the machine.
	Clock clock.PassiveClock
	// ReadPatience is how long the first read of a kind of Calico may take before the status
	// reports the delay. Zero means the default of calicowatch.
	ReadPatience time.Duration
	// StageTime is the settle time of a write stage. Zero means stageTime.
	StageTime time.Duration
	// APIServerTime is how long an address must belong to an API server before the address
	// counts. Zero means apiServerTime.
	APIServerTime time.Duration
	// EvictionPause is how long evicted pods have to start on other nodes. Zero means
	// evictionPause.
	EvictionPause time.Duration
	// Own is the operator's pod; empty outside of a cluster.
	Own types.NamespacedName
}

// Setup adds the reconcilers to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager) error { return SetupWith(ctx, mgr, Options{}) }

// SetupWith is Setup with options.
func SetupWith(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	for _, index := range state.RequiredIndexes() {
		if err := mgr.GetFieldIndexer().IndexField(ctx, index.Object, index.Field, index.Value); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", index.Object, index.Field, err)
		}
	}
	changes := make(chan event.GenericEvent, 1)
	follower, err := calicowatch.NewFollower(mgr.GetConfig(), calicowatch.Options{
		Patience: o.ReadPatience, Changed: func() { signal(changes) },
	})
	if err != nil {
		return fmt.Errorf("following the API of Calico: %w", err)
	}
	if err := mgr.Add(follower); err != nil {
		return err
	}
	configMaps, err := addConfigMaps(mgr)
	if err != nil {
		return err
	}
	own, ownPods, err := addOwn(mgr, o.Own)
	if err != nil {
		return err
	}
	observer := state.Observer{
		Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Calico: follower.Read, CalicoNow: follower.ReadNow,
		ConfigMaps: configMaps.readers(), Own: own,
	}
	requests, confirmed, writing := newReportRequests(), &Confirmed{}, &Writing{}
	repairer := Repairer{Clock: o.Clock, History: drift.NewHistory(), Report: requests.ask, Retries: &Retries{}, releases: &releases{}}
	w := watcher{observe: observer}

	quiet := repairer
	quiet.Report = func(string) {} // a requested report would cause an immediate retry
	if err := setupPolicies(mgr, w, sources{requests, changes, configMaps, ownPods}, &PolicyReconciler{
		Observe: observer, Client: &noting{mgr.GetClient(), confirmed, o.Clock}, Repairer: quiet,
		Stages: &Stages{Time: cmp.Or(o.StageTime, stageTime)}, Confirmed: confirmed, Writing: writing,
		apiServers: &steadyServers{After: cmp.Or(o.APIServerTime, apiServerTime)},
		Reporter: &Reporter{
			Observe: observer, Client: mgr.GetClient(), Clock: repairer.Clock, History: repairer.History,
			Recorder: mgr.GetEventRecorder("cpnp-operator"),
		},
	}); err != nil {
		return fmt.Errorf("setting up the reconciler of policies: %w", err)
	}
	if err := setupNodes(mgr, w, &NodeReconciler{
		Observe: observer, Clients: apply.NodeClients{Live: mgr.GetAPIReader(), Writer: mgr.GetClient()}, Repairer: repairer,
		Writing:  writing,
		Shelters: &Shelters{}, Evictions: &Evictions{}, EvictionPause: cmp.Or(o.EvictionPause, evictionPause),
	}); err != nil {
		return fmt.Errorf("setting up the reconciler of nodes: %w", err)
	}
	if err := setupServices(mgr, w, &ServiceReconciler{
		Observe: observer, Client: mgr.GetClient(), Repairer: repairer, Writing: writing,
	}); err != nil {
		return fmt.Errorf("setting up the reconciler of services: %w", err)
	}
	return nil
}

// sources are the origins of events from outside the manager's cache.
type sources struct {
	requests   *reportRequests
	calico     <-chan event.GenericEvent
	configMaps configMapCaches
	ownPods    cache.Cache // nil outside of a cluster
}

func setupPolicies(mgr ctrl.Manager, w watcher, from sources, r *PolicyReconciler) error {
	b := builder.ControllerManagedBy(mgr).Named("policy").
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, urgent(w.policiesOfPolicy()), builder.WithPredicates(intentChanged)).
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, w.policyToReport(), builder.WithPredicates(statusChanged)).
		Watches(&v1alpha1.ControlPlaneNodeEnactment{}, w.policyOfEnactment(), builder.WithPredicates(enactmentChanged)).
		Watches(&corev1.Node{}, w.policiesOfNode()).
		Watches(&corev1.Service{}, w.policiesOfService(), builder.WithPredicates(serviceChanged)).
		Watches(&discoveryv1.EndpointSlice{}, w.policiesOfEndpointSlice(), builder.WithPredicates(endpointsChanged)).
		Watches(&discoveryv1.EndpointSlice{}, w.policiesOfBackends(), builder.WithPredicates(backendsChanged)).
		WatchesMetadata(&corev1.Namespace{}, w.policiesOfNamespace(), builder.WithPredicates(labelsChanged)).
		Watches(&corev1.Pod{}, w.policiesOfPod(), builder.WithPredicates(podChanged)).
		Watches(&networkingv1.NetworkPolicy{}, w.policyOfNetworkPolicy()).
		Watches(&discoveryv1.EndpointSlice{}, w.allPolicies(), builder.WithPredicates(apiServersChanged)).
		Watches(&admissionv1.ValidatingWebhookConfiguration{}, w.allPolicies(), builder.WithPredicates(webhooksChanged)).
		Watches(&admissionv1.MutatingWebhookConfiguration{}, w.allPolicies(), builder.WithPredicates(webhooksChanged)).
		WatchesMetadata(&appsv1.DaemonSet{}, w.allPolicies(), builder.WithPredicates(existence)).
		WatchesRawSource(source.Channel(from.calico, w.policiesOnHosts())).
		WatchesRawSource(source.Channel(from.requests.events, w.policyToReport())).
		WithOptions(options(1))
	for _, c := range from.configMaps {
		b = b.WatchesRawSource(source.Kind(c.Cache, client.Object(&corev1.ConfigMap{}), w.allPolicies(), configMapChanged))
	}
	if from.ownPods != nil {
		b = b.WatchesRawSource(source.Kind(from.ownPods, client.Object(&corev1.Pod{}), w.allPolicies(), ownPodChanged))
	}
	return b.Complete(r)
}

func setupNodes(mgr ctrl.Manager, w watcher, r *NodeReconciler) error {
	return builder.ControllerManagedBy(mgr).
		For(&corev1.Node{}, builder.WithPredicates(nodeChanged)).
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, urgent(w.nodesOfPolicy()), builder.WithPredicates(gateChanged)).
		Watches(&v1alpha1.ControlPlaneNodeRecord{}, &handler.EnqueueRequestForObject{}).
		WithOptions(options(nodeWorkers)).
		Complete(r)
}

func setupServices(mgr ctrl.Manager, w watcher, r *ServiceReconciler) error {
	return builder.ControllerManagedBy(mgr).
		For(&corev1.Service{}, builder.WithPredicates(serviceChanged)).
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, urgent(w.servicesOfPolicy()), builder.WithPredicates(gateChanged)).
		Watches(&discoveryv1.EndpointSlice{}, w.serviceOfEndpointSlice(), builder.WithPredicates(endpointsChanged)).
		Watches(&corev1.Node{}, w.servicesWaitingForNode(), builder.WithPredicates(servingChanged)).
		WatchesMetadata(&corev1.Namespace{}, w.servicesOfNamespace(), builder.WithPredicates(labelsChanged)).
		WithOptions(options(serviceWorkers)).
		Complete(r)
}

func options(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter:             newLimiter(),
	}
}

// signal reports a change. An unread signal stands for all changes since.
func signal(changes chan<- event.GenericEvent) {
	select {
	case changes <- event.GenericEvent{Object: &v1alpha1.ControlPlaneNetworkPolicy{}}:
	default:
	}
}

// reportRequests carry requests for reports from the reconcilers of nodes and Services to
// the reconciler of policies. Requests are needed for facts without an event in the
// cluster, such as a failed write.
type reportRequests struct{ events chan event.GenericEvent }

func newReportRequests() *reportRequests {
	const enough = 64 // requests for the same policy are soon merged by the queue
	return &reportRequests{events: make(chan event.GenericEvent, enough)}
}

// ask never blocks: with a full channel, a report is due anyway, and the retry of the
// failed write will ask again.
func (r *reportRequests) ask(policy string) {
	object := &v1alpha1.ControlPlaneNetworkPolicy{}
	object.Name = policy
	select {
	case r.events <- event.GenericEvent{Object: object}:
	default:
	}
}
