// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/x509"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
)

// tlsWorkers is the number of nodes whose TLS is probed at once: enough to probe 64 nodes
// with only silent ports within the shortest useful interval.
const tlsWorkers = 8

// TLSObserver probes the TLS of the targets in ControlPlaneNodePostures, once in each
// interval, and writes the facts into its own item of status.observers, and to no other
// field.
type TLSObserver struct {
	// Client reads postures, from a cache if possible, and writes their status; nil stands
	// for the client of the manager.
	Client client.Client
	// Name of the observer: the name of its node, or v1alpha1.ObserverOperator.
	Name string
	// Prober finds the facts. Its Roots are set for each round.
	Prober tlsprobe.Prober
	// Roots returns the CA that the cluster publishes, nil if unknown. A nil function stands
	// for the CA of the manager's configuration.
	Roots func() *x509.CertPool
	// Clock tells the time; nil stands for the clock of the machine.
	Clock clock.PassiveClock

	rounds       rounds
	noRoomLogged sync.Once
}

// SetupTLSObserver adds an observer to a manager, unless the API server does not serve
// postures.
func SetupTLSObserver(mgr ctrl.Manager, o *TLSObserver) error {
	if !ServesPostures(mgr) {
		return nil
	}
	o.Prober.Limits.Certificates, o.Prober.Limits.Names = v1alpha1.MaxCertificates, v1alpha1.MaxCertificateNames
	if o.Client == nil {
		o.Client = mgr.GetClient()
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Roots == nil {
		o.Roots = publishedRoots(mgr.GetConfig())
	}
	if err := builder.ControllerManagedBy(mgr).Named("tls-probe").
		For(&v1alpha1.ControlPlaneNodePosture{}).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: tlsWorkers,
			ReconciliationTimeout:   timing.TLSRoundMost + timing.ReconcileTimeout,
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				timing.ObserverRetryFirst, timing.ObserverRetryLast),
		}).
		Complete(o); err != nil {
		return fmt.Errorf("setting up the TLS observer %s: %w", o.Name, err)
	}
	return nil
}

// Reconcile probes the targets of a posture if the interval has passed since the observer's
// last round, or if the targets have changed. After a failed write of a result, only the
// write is repeated, not the round.
func (o *TLSObserver) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	current := &v1alpha1.ControlPlaneNodePosture{}
	if err := o.Client.Get(ctx, request.NamespacedName, current); err != nil {
		if apierrors.IsNotFound(err) {
			o.rounds.forget(request.Name)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	targets := o.targetsOf(current)
	if len(targets) == 0 {
		return reconcile.Result{}, nil
	}
	round, finished := o.rounds.last(current)
	if wait := o.untilDue(current, round); wait > 0 {
		if finished && !round.written {
			if err := o.writeRound(ctx, current, round.observation); err != nil {
				return reconcile.Result{}, err
			}
		}
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	if o.hasNoRoom(current) {
		o.logNoRoom(ctx)
		return reconcile.Result{RequeueAfter: posture.Interval(current.Spec.IntervalSeconds)}, nil
	}
	return o.runRound(ctx, current, targets)
}

// runRound probes the targets, and writes the result unless the posture has changed meanwhile.
func (o *TLSObserver) runRound(
	ctx context.Context, p *v1alpha1.ControlPlaneNodePosture, targets []v1alpha1.TLSTarget,
) (reconcile.Result, error) {
	observation := o.probeTargets(ctx, p, targets)
	if err := ctx.Err(); err != nil {
		return reconcile.Result{}, err // the process ends
	}
	if same, err := o.isStill(ctx, p); err != nil || !same {
		return reconcile.Result{}, err // the event of the change follows
	}
	o.rounds.keep(p, observation)
	if err := o.writeRound(ctx, p, observation); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: o.untilNext(p, observation.Time.Time)}, nil
}

// writeRound writes the observation of a round. After an error, the caller tries again.
func (o *TLSObserver) writeRound(ctx context.Context, p *v1alpha1.ControlPlaneNodePosture, observation v1alpha1.TLSObservation) error {
	err := writeItem(ctx, o.Client, "ControlPlaneNodePosture", p.Name, o.Name, &observation)
	if err == nil {
		o.rounds.markWritten(p)
	}
	return classifyWriteError(err, func() { o.logNoRoom(ctx) })
}

// reservedRoom is how many observers of a posture are for the operator and for the node.
// Without the node's observer, loopback addresses could not be judged.
const reservedRoom = 2

// hasNoRoom tells whether the posture has no room for this observer.
func (o *TLSObserver) hasNoRoom(p *v1alpha1.ControlPlaneNodePosture) bool {
	if o.ownItem(p) != nil {
		return false
	}
	if o.Name == p.Spec.Node || o.Name == v1alpha1.ObserverOperator {
		return len(p.Status.Observers) >= v1alpha1.MaxObservers
	}
	others := 0
	for _, item := range p.Status.Observers {
		if item.Name != p.Spec.Node && item.Name != v1alpha1.ObserverOperator {
			others++
		}
	}
	return others >= v1alpha1.MaxObservers-reservedRoom
}

// isStill reads the posture again, and tells whether the posture still has the probed
// targets. The check is needed because the API server does not compare UIDs when a status
// is written.
func (o *TLSObserver) isStill(ctx context.Context, probed *v1alpha1.ControlPlaneNodePosture) (bool, error) {
	current := &v1alpha1.ControlPlaneNodePosture{}
	if err := o.Client.Get(ctx, client.ObjectKeyFromObject(probed), current); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return current.UID == probed.UID && current.Generation == probed.Generation, nil
}

// targetsOf returns the targets for the observer: loopback only on the observer's node, and
// no address at which services trust the network of the node.
func (o *TLSObserver) targetsOf(p *v1alpha1.ControlPlaneNodePosture) []v1alpha1.TLSTarget {
	return slices.DeleteFunc(slices.Clone(p.Spec.Targets), func(t v1alpha1.TLSTarget) bool {
		if posture.IsLoopback(t.Address) {
			return o.Name != p.Spec.Node || o.Name == v1alpha1.ObserverOperator || !servesOnLoopback(t)
		}
		return isMetadataService(t.Address) || IsRefused(v1alpha1.ProbeTarget{Address: t.Address, Port: t.Port, Protocol: v1alpha1.ProbeTLS})
	})
}

// untilDue returns how long to wait for the next round; 0 if the round is due. The last round
// is the later of two rounds, in the posture and in memory: the item in the posture may not
// have been written, or may have been removed.
func (o *TLSObserver) untilDue(p *v1alpha1.ControlPlaneNodePosture, round finishedRound) time.Duration {
	var last time.Time
	// A time in the future is that of a clock that was ahead.
	if round.observation.Time != nil && !round.observation.Time.After(o.Clock.Now()) {
		last = round.observation.Time.Time
	}
	if own := o.ownItem(p); own != nil && own.Time != nil && own.ObservedGeneration == p.Generation && !own.Time.After(o.Clock.Now()) &&
		own.Time.After(last) {
		last = own.Time.Time
	}
	if last.IsZero() {
		return 0
	}
	return max(0, o.untilNext(p, last))
}

// untilNext returns how long to wait for the round after a round that ended at the given
// time: the interval and up to a tenth more. Every call for the same round returns the same
// time.
func (o *TLSObserver) untilNext(p *v1alpha1.ControlPlaneNodePosture, last time.Time) time.Duration {
	interval := posture.Interval(p.Spec.IntervalSeconds)
	hash := fnv.New32a()
	_, _ = io.WriteString(hash, o.Name+" "+p.Name+" "+last.UTC().Format(time.RFC3339))
	part := float64(hash.Sum32()%1000) / 1000 * timing.TLSJitter
	return last.Add(interval + time.Duration(part*float64(interval))).Sub(o.Clock.Now())
}

func (o *TLSObserver) ownItem(p *v1alpha1.ControlPlaneNodePosture) *v1alpha1.TLSObservation {
	i := slices.IndexFunc(p.Status.Observers, func(item v1alpha1.TLSObservation) bool { return item.Name == o.Name })
	if i < 0 {
		return nil
	}
	return &p.Status.Observers[i]
}

func (o *TLSObserver) probeTargets(
	ctx context.Context, p *v1alpha1.ControlPlaneNodePosture, targets []v1alpha1.TLSTarget,
) v1alpha1.TLSObservation {
	prober := o.Prober
	if o.Roots != nil {
		prober.Roots = o.Roots()
	}
	ctx, cancel := context.WithTimeout(ctx, timing.TLSRoundMost)
	defer cancel()
	facts := prober.ProbeAll(ctx, probeTargetsOf(targets))
	observation := v1alpha1.TLSObservation{
		Name: o.Name, Time: &metav1.Time{Time: o.Clock.Now().Truncate(time.Second)}, ObservedGeneration: p.Generation,
	}
	for i, target := range targets {
		observation.Results = append(observation.Results, resultOf(target, facts[i]))
	}
	return observation
}

func (o *TLSObserver) logNoRoom(ctx context.Context) {
	o.noRoomLogged.Do(func() {
		logf.FromContext(ctx).Info("The posture has no room for this observer: run fewer observers; this is logged once",
			"observer", o.Name, "most", v1alpha1.MaxObservers)
	})
}

// publishedRoots returns a function that reads the CA with which clients verify the API
// server: in a pod, the CA published in the ConfigMap kube-root-ca.crt of every namespace.
// The file is read for each round, because the CA may be replaced.
func publishedRoots(config *rest.Config) func() *x509.CertPool {
	return func() *x509.CertPool {
		data := config.CAData
		if len(data) == 0 && config.CAFile != "" {
			var err error
			if data, err = os.ReadFile(config.CAFile); err != nil {
				return nil
			}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return nil
		}
		return pool
	}
}
