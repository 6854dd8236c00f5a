// SPDX-License-Identifier: Apache-2.0

package policy

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
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
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

	// next is the earliest time of the next report of each policy.
	next schedule.Timers[string]

	postures postureMemories
}

// report compares the whole posture in the cache with the declared posture, and writes the
// status. The result tells when to report again.
func (r *Reporter) report(ctx context.Context, o Observation) (reconcile.Result, error) {
	now := r.Clock.Now()
	if o.settling() {
		return reconcile.Result{}, nil
	}
	if wait := r.pace(o.policy.Name, now); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	r.History.ResumeContests(o.policy, now)
	r.tellReleases(o.policy)
	input, err := r.input(ctx, o)
	if err != nil {
		return reconcile.Result{}, errors.Join(err, r.admitIgnorance(ctx, o.policy, err))
	}
	input.Now = metav1.NewTime(now)
	status := report.StatusOf(input)
	metrics.SetManaged(o.policy.Name, "NetworkPolicy", input.Network.Declared)
	metrics.SetManaged(o.policy.Name, "HostPolicy", input.Hosts.Declared)
	metrics.SetManaged(o.policy.Name, "Taint", input.Taints.Declared)
	metrics.SetManaged(o.policy.Name, "Service", input.Services.Declared)
	if !equality.Semantic.DeepEqual(status, o.policy.Status) {
		err := r.write(ctx, o.policy.ControlPlaneNetworkPolicy, status)
		if apierrors.IsConflict(err) { // decide again with the changed policy
			return reconcile.Result{RequeueAfter: timing.ConflictDelay}, nil
		}
		if err != nil {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
		r.next.Set(o.policy.Name, r.Clock.Now().Add(timing.StatusInterval)) // counted from the end of the write
		for _, e := range report.ConditionEvents(o.policy.Status.Conditions, status.Conditions, input.History) {
			r.event(o.policy, e)
		}
		r.History.AcknowledgeSummary(o.policy.Name, input.History)
	}
	return reconcile.Result{RequeueAfter: input.History.Quiet}, nil
}

// announce reports at once, without regard to the time of the last report.
func (r *Reporter) announce(ctx context.Context, o Observation) error {
	r.next.Forget(o.policy.Name)
	_, err := r.report(ctx, o)
	return err
}

func (r *Reporter) event(policy *plan.Policy, e report.Event) {
	r.Recorder.Eventf(policy.ControlPlaneNetworkPolicy, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
}

// tellReleases emits events for released fields. The status cannot list released fields,
// because the policy does not declare the fields any more.
func (r *Reporter) tellReleases(policy *plan.Policy) {
	for _, event := range report.ReleaseEvents(r.History.TakeReleases(policy.Name)) {
		r.event(policy, event)
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

// pace returns how long to wait before the next report on the policy. If no wait is needed,
// the policy takes its turn and the result is 0.
func (r *Reporter) pace(policy string, now time.Time) time.Duration {
	if wait := r.next.Left(policy, 0, now); wait > 0 {
		return wait
	}
	r.next.Set(policy, now.Add(timing.CompareInterval))
	return 0
}
