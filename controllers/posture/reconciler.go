// SPDX-License-Identifier: Apache-2.0

// Package posture has the reconciler of postures: the reconciler asks observers to probe the
// TLS of the control plane, and counts the results. A separate queue keeps posture work from
// delaying the enforcement of a policy.
package posture

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodepostures,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodepostures/status,verbs=patch

// Reconciler keeps the postures of one policy. The reconciler of policies judges the
// postures. Postures are records of the operator, like a status, and so are written in
// every mode.
type Reconciler struct {
	Observe  state.Observer
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Backups reads when etcd was backed up. Report asks for a report on a policy.
	Backups *backup.Poller
	Report  func(policy string)

	attempts posture.Attempts
	compiler plan.Compiler
}

// Reconcile writes the targets of a policy's nodes, and tells what observers have found.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	snapshot, err := r.Observe.TakeSnapshot(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	all, err := r.Observe.ListPostures(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	policy := plan.FindPolicy(r.compiler.Compile(snapshot.Policies), request.Name)
	r.forgetOthers(snapshot.Policies, all)
	if policy == nil || policy.Deleting() {
		return reconcile.Result{}, r.deletePostures(ctx, ofName(request.Name, all))
	}
	return r.reconcile(ctx, policy, snapshot, all)
}

// reconcile does so for an existing policy. The reconciler of policies reports the
// findings.
func (r *Reconciler) reconcile(
	ctx context.Context, policy *plan.Policy, snapshot state.Snapshot, all []v1alpha1.ControlPlaneNodePosture,
) (reconcile.Result, error) {
	owned := state.PosturesOf(policy.ControlPlaneNetworkPolicy, all)
	r.tellAttempts(policy, owned)
	tellHandshakes(policy.Name, owned, r.Clock.Now())
	var err error
	if !r.Observe.WithoutPostures {
		err = r.writePostures(ctx, policy, snapshot, ofName(policy.Name, all))
	}
	again, changed := r.Backups.Poll(ctx, policy.ControlPlaneNetworkPolicy) // last, because it may take seconds
	declared := policy.TLSPosture()
	if changed || declared != nil {
		r.Report(policy.Name)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	result := reconcile.Result{RequeueAfter: again}
	if declared != nil { // observers may fall silent, which is no event
		result = schedule.Sooner(result, reconcile.Result{RequeueAfter: posture.Interval(declared.IntervalSeconds)})
	}
	return result, nil
}

// forgetOthers forgets deleted policies and postures, with their metrics.
func (r *Reconciler) forgetOthers(policies []v1alpha1.ControlPlaneNetworkPolicy, postures []v1alpha1.ControlPlaneNodePosture) {
	exist := map[types.UID]bool{}
	for i := range policies {
		exist[policies[i].UID] = true
	}
	r.Backups.Memory.ForgetOthers(exist)
	r.attempts.KeepOnly(postures)
	metrics.SetProbes(posture.ComponentsOf(postures), posture.ObserversOf(postures))
}

// ofName returns the postures of every policy of the name, also of an earlier policy.
func ofName(policy string, all []v1alpha1.ControlPlaneNodePosture) []v1alpha1.ControlPlaneNodePosture {
	var found []v1alpha1.ControlPlaneNodePosture
	for i := range all {
		if all[i].Spec.Policy == policy {
			found = append(found, all[i])
		}
	}
	return found
}

// writePostures makes the postures as the policy calls for. While the nodes to probe are
// unknown, the postures stay.
func (r *Reconciler) writePostures(
	ctx context.Context, policy *plan.Policy, snapshot state.Snapshot, live []v1alpha1.ControlPlaneNodePosture,
) error {
	tls := plan.TLSOf(policy, snapshot)
	if policy.TLSPosture() != nil && (tls.Obstacle != nil || policy.Invalid != nil) {
		return nil
	}
	var failures []error
	nodes := namesOf(snapshot.Nodes)
	left := map[string]*v1alpha1.ControlPlaneNodePosture{}
	for i := range live {
		left[live[i].Name] = &live[i]
	}
	for _, desired := range posture.ObjectsOf(policy.ControlPlaneNetworkPolicy, tls) {
		there := left[desired.Name]
		delete(left, desired.Name)
		failures = append(failures, ignoreStale(r.writePosture(ctx, &desired, there, nodes)))
	}
	gone := make([]v1alpha1.ControlPlaneNodePosture, 0, len(left))
	for _, one := range left {
		gone = append(gone, *one)
	}
	return errors.Join(append(failures, r.deletePostures(ctx, gone))...)
}

// writePosture writes a posture that differs, and otherwise removes the observers of
// deleted nodes. A posture of an earlier policy of the same name is replaced.
func (r *Reconciler) writePosture(ctx context.Context, desired, there *v1alpha1.ControlPlaneNodePosture, nodes sets.Set[string]) error {
	switch {
	case there == nil:
		return apply.WritePosture(ctx, r.Client, desired, nil)
	case !equality.Semantic.DeepEqual(there.OwnerReferences, desired.OwnerReferences):
		return r.deletePostures(ctx, []v1alpha1.ControlPlaneNodePosture{*there}) // the event of the deletion follows
	case !equality.Semantic.DeepEqual(there.Spec, desired.Spec) || there.Labels[v1alpha1.LabelPolicy] != desired.Spec.Policy:
		return apply.WritePosture(ctx, r.Client, desired, there)
	}
	if kept := posture.KeptObservers(there, nodes, r.Clock.Now()); len(kept) < len(there.Status.Observers) {
		return apply.KeepTLSObservers(ctx, r.Client, there, kept)
	}
	return nil
}

// ignoreStale drops the error of a write that a stale cache called for: the event of the
// newer object follows.
func ignoreStale(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (r *Reconciler) deletePostures(ctx context.Context, postures []v1alpha1.ControlPlaneNodePosture) error {
	var failures []error
	for i := range postures {
		one := &postures[i]
		if !one.DeletionTimestamp.IsZero() {
			continue
		}
		err := r.Client.Delete(ctx, one, client.Preconditions{UID: &one.UID})
		failures = append(failures, client.IgnoreNotFound(err))
	}
	return errors.Join(failures...)
}

// tellAttempts tells of ports that are not reached any more, or again.
func (r *Reconciler) tellAttempts(policy *plan.Policy, postures []v1alpha1.ControlPlaneNodePosture) {
	var lost, found []string
	for i := range postures {
		for _, attempt := range r.attempts.New(&postures[i]) {
			metrics.RecordAttempt(measure(attempt))
			switch {
			case !attempt.Changed:
			case attempt.IsReached():
				found = append(found, attempt.Describe())
			default:
				lost = append(lost, attempt.Describe())
			}
		}
	}
	if len(lost) > 0 {
		r.Recorder.Eventf(policy.ControlPlaneNetworkPolicy, nil, corev1.EventTypeWarning, "Unreachable", "Probe",
			"%s", wording.OneLine("Not reached any more: "+wording.ListPoints(lost), maxNote))
	}
	if len(found) > 0 {
		r.Recorder.Eventf(policy.ControlPlaneNetworkPolicy, nil, corev1.EventTypeNormal, "Reachable", "Probe",
			"%s", wording.OneLine("Reached again: "+wording.ListPoints(found), maxNote))
	}
}

// maxNote is the maximum length of the note of an event.
const maxNote = 1024

func namesOf(nodes []*corev1.Node) sets.Set[string] {
	names := sets.New[string]()
	for i := range nodes {
		names.Insert(nodes[i].Name)
	}
	return names
}
