// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// record writes the enactments that differ from the decision, and emits an event for each
// new phase. on.unsettled holds the nodes whose enactments differed. on.enactments holds
// all enactments as persisted: without a successful write, a decision does not count.
func (r *PolicyReconciler) record(
	ctx context.Context, policy *plan.Policy, decided []v1alpha1.ControlPlaneNodeEnactment, snapshot state.Snapshot,
) (on recorded, result reconcile.Result, err error) {
	on.unsettled = map[string]bool{}
	var failures []error
	var differing []drift.Object
	for i := range decided {
		want := &decided[i]
		live := plan.EnactmentOf(policy.Name, want.Spec.Node, snapshot.Enactments)
		now, job := onRecord(want, live), r.recordOf(policy, want, live)
		settled := !job.needed
		if settled {
			r.forgetObservers(&job, live, snapshot)
		}
		if job.needed {
			differing = append(differing, job.object)
		}
		if !settled {
			on.unsettled[want.Spec.Node] = true
			write := job.write
			job.write = func(ctx context.Context) error {
				err := write(ctx)
				if err == nil {
					now = want
				}
				return err
			}
		}
		_, next, err := r.do(ctx, job)
		result, failures = sooner(result, next), append(failures, err)
		on.enactments = append(on.enactments, *now)
	}
	r.History.Differing(policy.Name, kindEnactment, differing, r.Clock.Now())
	return on, result, errors.Join(failures...)
}

// onRecord returns the persisted enactment of a node; without a persisted enactment, an
// enactment without a phase.
func onRecord(want, live *v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.ControlPlaneNodeEnactment {
	if live != nil {
		return live
	}
	return &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: want.Name},
		Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: want.Spec.Policy, Node: want.Spec.Node},
	}
}

// recorded holds the persisted phases of the nodes of a policy.
type recorded struct {
	unsettled  map[string]bool
	enactments []v1alpha1.ControlPlaneNodeEnactment
}

// recordOf returns the repair that makes an enactment as decided.
func (r *PolicyReconciler) recordOf(policy *plan.Policy, want, live *v1alpha1.ControlPlaneNodeEnactment) repair {
	job := repair{
		object: drift.Object{Kind: kindEnactment, Name: want.Name}, policies: []string{policy.Name},
		needed: live == nil || !sameRecord(want, live),
	}
	if live != nil {
		job.version = live.ResourceVersion
	}
	job.write = func(ctx context.Context) error {
		if err := apply.WriteEnactment(ctx, r.Client, want, live); err != nil {
			return fmt.Errorf("recording how far node %s is: %w", want.Spec.Node, err)
		}
		if was, is := rollout.PhaseOf(live), rollout.PhaseOf(want); was != is {
			r.Reporter.event(policy, report.PhaseEvent(want, is))
		}
		return nil
	}
	return job
}

// sameRecord compares the fields written by the operator.
func sameRecord(a, b *v1alpha1.ControlPlaneNodeEnactment) bool {
	is, was := a.Status.DeepCopy(), b.Status.DeepCopy()
	is.Observers, was.Observers = nil, nil
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && equality.Semantic.DeepEqual(is, was) &&
		a.Annotations[v1alpha1.AnnotationConfirm] == b.Annotations[v1alpha1.AnnotationConfirm]
}

// forgetObservers uses a repair without other writes to remove the observations of deleted
// nodes from an enactment.
func (r *PolicyReconciler) forgetObservers(job *repair, live *v1alpha1.ControlPlaneNodeEnactment, snapshot state.Snapshot) {
	gone := func(o v1alpha1.Observation) bool {
		return o.Name != v1alpha1.ObserverOperator &&
			!slices.ContainsFunc(snapshot.Nodes, func(n corev1.Node) bool { return n.Name == o.Name })
	}
	if !slices.ContainsFunc(live.Status.Observers, gone) {
		return
	}
	job.needed = true
	job.write = func(ctx context.Context) error {
		kept := slices.DeleteFunc(slices.Clone(live.Status.Observers), gone)
		return apply.WriteObservers(ctx, r.Client, live, kept)
	}
}

// forgetIfGivenUp deletes the enactments of a policy that does not protect nodes any more,
// after all of the policy's objects are gone from Calico. With the enactments left in
// place, all nodes would get the rules at once if the policy protected nodes again, and
// other policies would wait for a node in flight.
func (r *PolicyReconciler) forgetIfGivenUp(ctx context.Context, o *Observation, snapshot state.Snapshot) (reconcile.Result, error) {
	if snapshot.Unconfirmed || !o.policy.Enforces() || o.hosts.Stays || !snapshot.Calico.IsReadable() ||
		drift.WroteHosts(o.policy.Name, snapshot.Calico) {
		return reconcile.Result{}, nil
	}
	_, result, err := r.forgetNodes(ctx, o.policy, left(o.policy.Name, nil, snapshot.Enactments))
	return result, err
}

// goneNodes returns the enactments of nodes not protected by the policy any more, and the
// name of a node reverted for the current generation, if any. The enactment of the reverted
// node stays, because the enactment is the reason for not starting other nodes.
func goneNodes(policy *plan.Policy, protected []calico.Node, there []v1alpha1.ControlPlaneNodeEnactment) (
	gone []*v1alpha1.ControlPlaneNodeEnactment, failed string,
) {
	for _, e := range left(policy.Name, protected, there) {
		if rollout.FailedInGeneration(e, policy.Generation) {
			failed = e.Spec.Node
		} else {
			gone = append(gone, e)
		}
	}
	return gone, failed
}

// recordsOf returns the policy's enactments.
func recordsOf(policy string, there []v1alpha1.ControlPlaneNodeEnactment) []v1alpha1.ControlPlaneNodeEnactment {
	return slices.DeleteFunc(slices.Clone(there), func(e v1alpha1.ControlPlaneNodeEnactment) bool { return e.Spec.Policy != policy })
}

// forgetNodes deletes enactments, and returns the names of the enactments that stay. An
// enactment does not block the deletion of its policy if the API server refuses to delete
// the enactment: the enactment names the policy's UID, and has no meaning for a new policy
// of the same name.
func (r *PolicyReconciler) forgetNodes(ctx context.Context, policy *plan.Policy, gone []*v1alpha1.ControlPlaneNodeEnactment) (
	stay []string, result reconcile.Result, err error,
) {
	var failures []error
	for _, e := range gone {
		job := repair{
			object: drift.Object{Kind: kindEnactment, Name: e.Name}, version: e.ResourceVersion, policies: []string{policy.Name}, needed: true,
			write: func(ctx context.Context) error {
				return client.IgnoreNotFound(r.Client.Delete(ctx, e, client.Preconditions{UID: &e.UID}))
			},
		}
		if policy.Deleting() {
			job.releasing = []owner{ownerOf(policy)}
		}
		wrote, next, err := r.do(ctx, job)
		result, failures = sooner(result, next), append(failures, err)
		if !wrote && !r.Retries.abandoned(job.object, policy.UID) {
			stay = append(stay, job.object.String())
		}
	}
	return stay, result, errors.Join(failures...)
}

// left returns the policy's enactments of nodes that are not among the protected nodes.
func left(policy string, protected []calico.Node, there []v1alpha1.ControlPlaneNodeEnactment) []*v1alpha1.ControlPlaneNodeEnactment {
	var gone []*v1alpha1.ControlPlaneNodeEnactment
	for i := range there {
		e := &there[i]
		kept := slices.ContainsFunc(protected, func(n calico.Node) bool { return n.Name == e.Spec.Node })
		if e.Spec.Policy == policy && !kept {
			gone = append(gone, e)
		}
	}
	return gone
}
