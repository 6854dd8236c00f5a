// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// confirm returns the cached snapshot if the cache is reliable, otherwise a snapshot from
// the API server. If neither is available, the snapshot is marked as unconfirmed, and the
// result tells when to try again.
func (r *Reconciler) confirm(ctx context.Context, cached state.Snapshot) (state.Snapshot, reconcile.Result) {
	if r.Confirmed == nil || !r.Confirmed.Begun() && !concernsHosts(cached, r.compiler.Compile(cached.Policies)) {
		return cached, reconcile.Result{}
	}
	shown, again := r.confirmRecords(ctx, cached)
	behind, err := r.Confirmed.FirstNodes.Behind(ctx, cached.Nodes, r.Observe.NodeVersionsNow, r.Clock.Now())
	if behind || err != nil {
		shown.Unconfirmed, shown.ConfirmError = true, errors.Join(shown.ConfirmError, err)
		again = schedule.Sooner(again, reconcile.Result{RequeueAfter: timing.AskAgain})
	}
	return shown, again
}

// confirmRecords confirms the inputs of rollouts.
func (r *Reconciler) confirmRecords(ctx context.Context, cached state.Snapshot) (state.Snapshot, reconcile.Result) {
	r.Confirmed.Reads(cached.OnHosts().Availability().Readable)
	wait := r.Confirmed.Wait(versionsIn(cached), r.Clock.Now())
	if wait == 0 {
		return cached, reconcile.Result{}
	}
	if wait > 0 {
		cached.Unconfirmed = true
		return cached, reconcile.Result{RequeueAfter: wait}
	}
	shown, err := r.Observe.RefreshSnapshot(ctx, cached)
	if err != nil {
		cached.Unconfirmed, cached.ConfirmError = true, err
		return cached, reconcile.Result{}
	}
	if cached.OnHosts().Availability().Readable && shown.OnHosts().Availability().Problem != "" { // Calico's objects are unknown now
		return shown, reconcile.Result{RequeueAfter: timing.AskAgain}
	}
	if r.Confirmed.Compare(versionsIn(cached), versionsIn(shown), r.Clock.Now()) {
		return shown, reconcile.Result{}
	}
	return shown, reconcile.Result{RequeueAfter: timing.AskAgain}
}

// concernsHosts tells whether hosts are protected, or were. Without restrictions on hosts,
// no policy has to wait for a confirmed cache.
func concernsHosts(snapshot state.Snapshot, policies []plan.Policy) bool {
	return len(snapshot.Enactments)+len(snapshot.Outlived) > 0 || len(snapshot.OnHosts().Objects()) > 0 ||
		slices.ContainsFunc(policies, func(p plan.Policy) bool {
			return p.ProtectsHosts() || p.Intent() == intent.RollBack
		})
}

// versionsIn returns the versions of the objects written by the operator, or decisive for
// rollouts: policies, enactments, and managed objects of Calico.
func versionsIn(snapshot state.Snapshot) map[drift.Object]string {
	versions := map[drift.Object]string{}
	add := func(kind string, object client.Object) {
		versions[drift.Object{Kind: kind, Name: object.GetName()}] = object.GetResourceVersion()
	}
	for i := range snapshot.Policies {
		add(drift.KindPolicy, &snapshot.Policies[i])
	}
	for i := range snapshot.Enactments {
		add(drift.KindEnactment, &snapshot.Enactments[i])
	}
	for i := range snapshot.Outlived {
		add(drift.KindEnactment, &snapshot.Outlived[i])
	}
	for _, object := range snapshot.OnHosts().Objects() {
		if _, labelled := object.GetLabels()[v1alpha1.LabelPolicy]; labelled || backend.IsWrittenByOperator(object) {
			versions[drift.ObjectOf(object)] = object.GetResourceVersion()
		}
	}
	return versions
}
