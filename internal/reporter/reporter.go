// SPDX-License-Identifier: Apache-2.0

// Package reporter has the last step of the pipeline: it collects what a report is made of,
// writes the status of a policy, and tells of changes by events and metrics.
package reporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/compare"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Reporter writes the status of each policy at most once a second, and only after a change.
type Reporter struct {
	Observe  state.Observer
	Client   client.Client
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	History  *drift.History
	// Backups has what is known of the backups of etcd.
	Backups *backup.Memory

	// next is the earliest time of the next report of each policy.
	next schedule.Timers[string]

	comparer compare.Comparer
}

// Report compares what is in the cache with what is declared, and writes the
// status. The result tells when to report again.
func (r *Reporter) Report(ctx context.Context, a pipeline.Assessment) (reconcile.Result, error) {
	now := r.Clock.Now()
	if a.Settling() {
		return reconcile.Result{}, nil
	}
	if wait := r.pace(a.Policy.Name, now); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	r.History.ResumeContests(a.Policy, now)
	r.TellReleases(a.Policy)
	input, err := r.Input(ctx, a)
	if err != nil {
		return reconcile.Result{}, errors.Join(err, r.admitIgnorance(ctx, a.Policy, err))
	}
	input.Now = metav1.NewTime(now)
	status := report.StatusOf(input)
	metrics.SetManaged(a.Policy.Name, "NetworkPolicy", input.Network.Declared)
	metrics.SetManaged(a.Policy.Name, "HostPolicy", input.Hosts.Declared)
	metrics.SetManaged(a.Policy.Name, "Taint", input.Taints.Declared)
	metrics.SetManaged(a.Policy.Name, "Service", input.Services.Declared)
	if !equality.Semantic.DeepEqual(status, a.Policy.Status) {
		err := r.write(ctx, a.Policy.ControlPlaneNetworkPolicy, status)
		if apierrors.IsConflict(err) { // decide again with the changed policy
			return reconcile.Result{RequeueAfter: timing.ConflictDelay}, nil
		}
		if err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
		r.next.Set(a.Policy.Name, r.Clock.Now().Add(timing.StatusInterval)) // counted from the end of the write
		for _, e := range report.ConditionEvents(a.Policy.Status.Conditions, status.Conditions, input.History) {
			r.Emit(a.Policy, e)
		}
		r.History.AcknowledgeSummary(a.Policy.Name, input.History)
	}
	metrics.SetStatus(a.Policy.Name, a.Policy.Intent(), &status)
	again := reconcile.Result{RequeueAfter: input.History.Quiet}
	tellPosture(a.Policy, input)
	return schedule.Sooner(again, untilPostureChanges(input, now)), nil
}

// Announce reports at once, without regard to the time of the last report.
func (r *Reporter) Announce(ctx context.Context, a pipeline.Assessment) error {
	r.next.Forget(a.Policy.Name)
	_, err := r.Report(ctx, a)
	return err
}

// Emit emits an event of a policy.
func (r *Reporter) Emit(policy *plan.Policy, e report.Event) {
	r.Recorder.Eventf(policy.ControlPlaneNetworkPolicy, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
}

// TellReleases emits events for released fields. The status cannot list released fields,
// because the policy does not declare the fields any more.
func (r *Reporter) TellReleases(policy *plan.Policy) {
	for _, event := range report.ReleaseEvents(r.History.TakeReleases(policy.Name)) {
		r.Emit(policy, event)
	}
}

// admitIgnorance writes an unknown status for a policy without a report in the current
// generation. Without conditions, users would read the missing status as success.
func (r *Reporter) admitIgnorance(ctx context.Context, policy *plan.Policy, cause error) error {
	if policy.Status.ObservedGeneration == policy.Generation {
		return nil
	}
	status := report.UnknownStatus(policy, cause, metav1.NewTime(r.Clock.Now()))
	err := r.write(ctx, policy.ControlPlaneNetworkPolicy, status)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		metrics.SetStatus(policy.Name, policy.Intent(), &status)
	}
	return err
}

// write applies the whole status: conditions missing in status are removed.
func (r *Reporter) write(
	ctx context.Context, policy *v1alpha1.ControlPlaneNetworkPolicy, status v1alpha1.ControlPlaneNetworkPolicyStatus,
) error {
	if err := apply.WriteStatus(ctx, r.Client, policy, &status); err != nil {
		return fmt.Errorf("writing the status of policy %s: %w", policy.Name, err)
	}
	logf.FromContext(ctx).V(1).Info("Wrote status")
	return nil
}

// Forget drops the memory of a policy that is gone.
func (r *Reporter) Forget(policy string) { r.next.Forget(policy) }

// pace returns how long to wait before the next report on the policy. If no wait is needed,
// the policy takes its turn and the result is 0.
func (r *Reporter) pace(policy string, now time.Time) time.Duration {
	if wait := r.next.Left(policy, 0, now); wait > 0 {
		return wait
	}
	r.next.Set(policy, now.Add(timing.CompareInterval))
	return 0
}
