// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// workers is the number of enactments that are answered at once. Each control-plane node
// has an enactment, and few nodes are in flight at a time.
const workers = 4

// Observer answers the probe rounds of enactments: an observer tries the targets, and
// writes the results into the observer's item of status.observers, and to no other field.
type Observer struct {
	// Client reads enactments, from a cache if possible, and writes their status.
	Client client.Client
	// Name of the observer: the name of its node, or v1alpha1.ObserverOperator. Names
	// of running observers must be unique.
	Name string
	// Addresses that packets of the observer may come from, where the name does not
	// tell; at most 8.
	Addresses []string
	// Dial opens connections; nil stands for the network of this process.
	Dial Dial
	// Refused tells which targets are never tried; nil stands for IsRefused.
	Refused func(v1alpha1.ProbeTarget) bool
	// Clock tells the time; nil stands for the clock of the machine.
	Clock clock.PassiveClock

	noRoomLogged sync.Once // logs only the first lack of room for the observer
}

// SetupObserver adds an observer to a manager. An observer without a client uses the
// client of the manager.
func SetupObserver(mgr ctrl.Manager, o *Observer) error {
	if o.Client == nil {
		o.Client = mgr.GetClient()
	}
	asked := predicate.NewPredicateFuncs(func(object client.Object) bool {
		enactment, ok := object.(*v1alpha1.ControlPlaneNodeEnactment)
		return ok && o.needsAnswer(enactment)
	})
	if err := builder.ControllerManagedBy(mgr).Named("probe").
		For(&v1alpha1.ControlPlaneNodeEnactment{}, builder.WithPredicates(asked)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				timing.ObserverRetryFirst, timing.ObserverRetryLast),
		}).
		Complete(o); err != nil {
		return fmt.Errorf("setting up the observer %s: %w", o.Name, err)
	}
	return nil
}

// SetupNode adds the observers of a node to the manager.
func SetupNode(mgr ctrl.Manager, node string) error {
	if err := SetupTLSObserver(mgr, &TLSObserver{Name: node}); err != nil {
		return err
	}
	return SetupObserver(mgr, &Observer{Name: node})
}

// SetupOperator adds the operator's own observers to the manager. Without known addresses
// of the operator's packets, enactments have no such observer, because the results would be
// no proof. Only the leading replica observes.
func SetupOperator(mgr ctrl.Manager) error {
	if err := SetupTLSObserver(mgr, &TLSObserver{Name: v1alpha1.ObserverOperator}); err != nil {
		return err
	}
	addresses := EnvironmentAddresses()
	if len(addresses) == 0 {
		return nil
	}
	return SetupObserver(mgr, &Observer{Name: v1alpha1.ObserverOperator, Addresses: addresses})
}

// Reconcile answers the probe round of an enactment. If another round is requested before
// all targets are tried, the results are dropped: the event of the new request follows.
func (o *Observer) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	enactment := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := o.Client.Get(ctx, request.NamespacedName, enactment); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !o.needsAnswer(enactment) {
		return reconcile.Result{}, nil
	}
	if o.hasNoRoom(enactment) {
		o.logNoRoom(ctx)
		return reconcile.Result{}, nil
	}
	observation := o.probeTargets(ctx, enactment)
	if err := ctx.Err(); err != nil {
		return reconcile.Result{}, err // Results of an interrupted round mean nothing.
	}
	if still, err := o.stillNeedsAnswer(ctx, enactment); err != nil || !still {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, classifyWriteError(o.writeObservation(ctx, enactment, observation), func() { o.logNoRoom(ctx) })
}

// stillNeedsAnswer reads the enactment again, and tells whether the enactment is the same
// and requests the same round. The API server would not notice a difference, because the
// API server does not compare UIDs when a status is written. Between the read and the
// write, a new enactment of the same name can only begin.
func (o *Observer) stillNeedsAnswer(ctx context.Context, enactment *v1alpha1.ControlPlaneNodeEnactment) (bool, error) {
	current := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := o.Client.Get(ctx, client.ObjectKeyFromObject(enactment), current); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return current.UID == enactment.UID && current.Status.ProbeRequestHash == enactment.Status.ProbeRequestHash &&
		current.HasOperatorsProbeRequest(), nil
}

// needsAnswer tells whether the enactment requests a round without an answer of the
// observer. An answer to a later round belongs to an earlier enactment of the same name.
func (o *Observer) needsAnswer(enactment *v1alpha1.ControlPlaneNodeEnactment) bool {
	round := enactment.Spec.ProbeRound
	if round == nil || *round <= 0 || !enactment.HasOperatorsProbeRequest() {
		return false
	}
	own := o.ownObservation(enactment)
	return own == nil || own.ProbeRound != *round
}

// hasNoRoom tells whether the enactment has no room for this observer.
func (o *Observer) hasNoRoom(enactment *v1alpha1.ControlPlaneNodeEnactment) bool {
	return o.ownObservation(enactment) == nil && len(enactment.Status.Observers) >= v1alpha1.MaxObservers
}

// ownObservation returns the observer's own item, or nil.
func (o *Observer) ownObservation(enactment *v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.Observation {
	observers := enactment.Status.Observers
	i := slices.IndexFunc(observers, func(item v1alpha1.Observation) bool { return item.Name == o.Name })
	if i < 0 {
		return nil
	}
	return &observers[i]
}

func (o *Observer) probeTargets(ctx context.Context, enactment *v1alpha1.ControlPlaneNodeEnactment) v1alpha1.Observation {
	results := TryTargets(ctx, o.dialFunc(), enactment.Spec.Targets, o.refusedFunc())
	return v1alpha1.Observation{
		Name:       o.Name,
		Addresses:  slices.Sorted(slices.Values(o.Addresses)),
		ProbeRound: *enactment.Spec.ProbeRound,
		Time:       &metav1.Time{Time: o.currentTime()},
		Results:    results,
	}
}

// writeObservation writes the observer's own item.
func (o *Observer) writeObservation(
	ctx context.Context, enactment *v1alpha1.ControlPlaneNodeEnactment, observation v1alpha1.Observation,
) error {
	if err := writeItem(ctx, o.Client, "ControlPlaneNodeEnactment", enactment.Name, o.Name, &observation); err != nil {
		return err
	}
	logf.FromContext(ctx).V(1).Info("Wrote observation", "probeRound", observation.ProbeRound)
	return nil
}

func (o *Observer) logNoRoom(ctx context.Context) {
	o.noRoomLogged.Do(func() {
		logf.FromContext(ctx).Info("The enactment has no room for this observer: run fewer observers; this is logged once",
			"observer", o.Name, "most", v1alpha1.MaxObservers)
	})
}

func (o *Observer) dialFunc() Dial {
	if o.Dial == nil {
		return new(net.Dialer).DialContext
	}
	return o.Dial
}

func (o *Observer) refusedFunc() func(v1alpha1.ProbeTarget) bool {
	if o.Refused == nil {
		return IsRefused
	}
	return o.Refused
}

func (o *Observer) currentTime() time.Time {
	if o.Clock == nil {
		return time.Now()
	}
	return o.Clock.Now()
}
