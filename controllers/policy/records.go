// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments,verbs=list;watch;create;patch;delete
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments/status,verbs=patch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments/spec,verbs=update

// recordRollout persists the decision about the nodes: the next reconciliation acts on it.
// Afterwards, o has the persisted enactments, because without a successful write a decision
// does not count. A stale cache is no error: the next state of the cache decides.
func (r *Reconciler) recordRollout(ctx context.Context, a *pipeline.Assessment) (result reconcile.Result, err error) {
	if a.Decided {
		a.Rollout.Enactments, result, err = r.record(ctx, a.Policy, a.Rollout.Enactments, a.Snapshot)
	} else {
		r.History.SettleOthers(a.Policy.Name, drift.KindEnactment, nil, r.Clock.Now())
	}
	_, next, forgetErr := r.forgetNodes(ctx, a.Policy, a.Leaving)
	result = schedule.Sooner(result, next)
	if err = errors.Join(err, forgetErr); apierrors.IsConflict(err) {
		return schedule.Sooner(result, reconcile.Result{RequeueAfter: timing.ConflictDelay}), nil
	}
	return result, err
}

// record writes the enactments that differ from the decision, emits an event for each new
// phase, and returns all enactments as persisted.
func (r *Reconciler) record(
	ctx context.Context, policy *plan.Policy, decided []v1alpha1.ControlPlaneNodeEnactment, snapshot state.Snapshot,
) (persisted []v1alpha1.ControlPlaneNodeEnactment, result reconcile.Result, err error) {
	var failures []error
	var differing []drift.Object
	for i := range decided {
		want := &decided[i]
		live := plan.EnactmentOf(policy.Name, want.Spec.Node, snapshot.Enactments)
		now, job := persistedOf(want, live), r.recordOf(policy, want, live)
		if job.Needed {
			write := job.Write
			job.Write = func(ctx context.Context) error {
				err := write(ctx)
				if err == nil {
					now = want
				}
				return err
			}
		} else {
			r.forgetObservers(&job, live, snapshot)
		}
		if job.Needed {
			differing = append(differing, job.Object)
		}
		part, done := share(ctx, len(decided)-i)
		_, next, err := r.Do(part, job)
		done()
		result, failures = schedule.Sooner(result, next), append(failures, err)
		persisted = append(persisted, *now)
	}
	r.History.SettleOthers(policy.Name, drift.KindEnactment, differing, r.Clock.Now())
	return persisted, result, errors.Join(failures...)
}

// persistedOf returns the persisted enactment of a node; without one, an enactment without
// a phase.
func persistedOf(want, live *v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.ControlPlaneNodeEnactment {
	if live != nil {
		return live
	}
	return &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: want.Name},
		Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: want.Spec.Policy, Node: want.Spec.Node},
	}
}

// recordOf returns the repair that makes an enactment as decided.
func (r *Reconciler) recordOf(policy *plan.Policy, want, live *v1alpha1.ControlPlaneNodeEnactment) repair.Job {
	job := repair.Job{
		Object: drift.Object{Kind: drift.KindEnactment, Name: want.Name}, Policies: []string{policy.Name},
		Needed: live == nil || !pipeline.SameEnactment(want, live),
	}
	if live != nil {
		job.Version = live.ResourceVersion
	}
	job.Write = func(ctx context.Context) error {
		if err := apply.WriteEnactment(ctx, r.Client, want, live); err != nil {
			return fmt.Errorf("recording how far node %s is: %w", want.Spec.Node, err)
		}
		if was, is := rollout.PhaseOf(live), rollout.PhaseOf(want); was != is {
			r.Reporter.Emit(policy, report.PhaseEvent(want, is))
		}
		return nil
	}
	return job
}

// forgetObservers uses a repair without other writes to remove the observations of deleted
// nodes from an enactment.
func (r *Reconciler) forgetObservers(job *repair.Job, live *v1alpha1.ControlPlaneNodeEnactment, snapshot state.Snapshot) {
	gone := func(o v1alpha1.Observation) bool {
		return o.Name != v1alpha1.ObserverOperator &&
			!slices.ContainsFunc(snapshot.Nodes, func(n *corev1.Node) bool { return n.Name == o.Name })
	}
	if !slices.ContainsFunc(live.Status.Observers, gone) {
		return
	}
	job.Needed = true
	job.Write = func(ctx context.Context) error {
		kept := slices.DeleteFunc(slices.Clone(live.Status.Observers), gone)
		return apply.WriteObservers(ctx, r.Client, live, kept)
	}
}

// forgetNodes deletes enactments, and returns the names of the enactments that stay. An
// enactment does not block the deletion of its policy if the API server refuses to delete
// the enactment: the enactment names the policy's UID, and has no meaning for a new policy
// of the same name.
func (r *Reconciler) forgetNodes(ctx context.Context, policy *plan.Policy, gone []*v1alpha1.ControlPlaneNodeEnactment) (
	stay []string, result reconcile.Result, err error,
) {
	var failures []error
	for _, e := range gone {
		job := repair.Job{
			Object: drift.Object{Kind: drift.KindEnactment, Name: e.Name}, Version: e.ResourceVersion, Policies: []string{policy.Name}, Needed: true,
			Write: func(ctx context.Context) error {
				return client.IgnoreNotFound(r.Client.Delete(ctx, e, client.Preconditions{UID: &e.UID}))
			},
		}
		if policy.Deleting() {
			job.Releasing = []repair.Owner{repair.OwnerOf(policy)}
		}
		wrote, next, err := r.Do(ctx, job)
		result, failures = schedule.Sooner(result, next), append(failures, err)
		if !wrote && !r.Retries.Abandoned(job.Object, policy.UID) {
			stay = append(stay, job.Object.String())
		}
	}
	return stay, result, errors.Join(failures...)
}
