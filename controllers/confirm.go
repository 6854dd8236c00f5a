// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const (
	// cacheLag is how long the cache may take to show a write of the operator before the
	// operator asks the API server instead. The API server is asked at most once in this time.
	cacheLag = 300 * time.Millisecond
	// lookAgain is when the API server is asked again while the cache is stale.
	lookAgain = time.Second
)

// Confirmed tells whether the cached inputs of rollouts are reliable: whether the cache has
// shown everything that the API server had when the operator started, and every later write
// of the operator. Confirmed is used only by the single worker for policies. A nil value
// takes every cache as reliable.
type Confirmed struct {
	// caughtUp tells that the cache was seen to be as new as the API server. readable tells
	// whether Calico could be read at that time: when Calico becomes readable again, the cache
	// of Calico may be stale again.
	caughtUp, readable bool
	writes             map[drift.Object]ownWrite
	looked             time.Time
	nodes              firstNodes
}

// ownWrite is a write that the cache does not show yet. The cache must show the object in
// version or newer; or, if gone is set, no longer show the object in version.
type ownWrite struct {
	version string
	gone    bool
	at      time.Time
}

// confirm returns the cached snapshot if the cache is reliable, otherwise a snapshot from
// the API server. If neither is available, the snapshot is marked as unconfirmed, and the
// result tells when to try again.
func (r *PolicyReconciler) confirm(ctx context.Context, cached state.Snapshot) (state.Snapshot, reconcile.Result) {
	if r.Confirmed == nil || !r.Confirmed.begun() && !concernsHosts(cached) {
		return cached, reconcile.Result{}
	}
	shown, again := r.confirmRecords(ctx, cached)
	behind, err := r.Confirmed.nodes.behind(ctx, cached.Nodes, r.Observe.NodeVersionsNow, r.Clock.Now())
	if behind || err != nil {
		shown.Unconfirmed, shown.ConfirmError = true, errors.Join(shown.ConfirmError, err)
		again = sooner(again, reconcile.Result{RequeueAfter: lookAgain})
	}
	return shown, again
}

// confirmRecords confirms the inputs of rollouts.
func (r *PolicyReconciler) confirmRecords(ctx context.Context, cached state.Snapshot) (state.Snapshot, reconcile.Result) {
	r.Confirmed.reads(cached.Calico.IsReadable())
	wait := r.Confirmed.wait(versionsIn(cached), r.Clock.Now())
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
	if cached.Calico.IsReadable() && shown.Calico.Problem != "" { // Calico's objects are unknown now
		return shown, reconcile.Result{RequeueAfter: lookAgain}
	}
	if r.Confirmed.compare(versionsIn(cached), versionsIn(shown), r.Clock.Now()) {
		return shown, reconcile.Result{}
	}
	return shown, reconcile.Result{RequeueAfter: lookAgain}
}

// begun tells whether the API server was asked before, or the cache has a write to show.
func (c *Confirmed) begun() bool { return !c.looked.IsZero() || len(c.writes) > 0 }

// concernsHosts tells whether hosts are protected, or were. Without restrictions on hosts,
// no policy has to wait for a confirmed cache.
func concernsHosts(snapshot state.Snapshot) bool {
	return len(snapshot.Enactments)+len(snapshot.Outlived) > 0 || len(drift.ObjectsOf(snapshot.Calico)) > 0 ||
		slices.ContainsFunc(plan.Compile(snapshot.Policies), func(p plan.Policy) bool {
			return p.ProtectsHosts() || p.Intent() == plan.IntentRollBack
		})
}

// reads records whether Calico can be read now.
func (c *Confirmed) reads(readable bool) {
	c.caughtUp = c.caughtUp && (c.readable || !readable)
	c.readable = readable
}

// wait returns 0 if the cache is reliable, a negative duration if the API server is to be
// asked now, and otherwise the time until the API server is to be asked.
func (c *Confirmed) wait(cached map[drift.Object]string, now time.Time) time.Duration {
	youngest := time.Duration(0)
	for object, write := range c.writes {
		if write.shownBy(cached[object]) {
			delete(c.writes, object)
			continue
		}
		youngest = max(youngest, write.at.Add(cacheLag).Sub(now))
	}
	left := c.looked.Add(cacheLag).Sub(now)
	switch {
	case c.caughtUp && len(c.writes) == 0:
		return 0
	case c.caughtUp && youngest > 0:
		return youngest
	case !c.looked.IsZero() && left > 0:
		return left
	}
	return -1
}

// compare records the versions of the API server, and tells whether the cache had all of
// them. The cache becomes reliable once the missing versions are shown. Newer versions do
// not count: in a busy cluster, the cache would never be as new as the next look.
func (c *Confirmed) compare(cached, there map[drift.Object]string, now time.Time) bool {
	c.looked, c.caughtUp = now, true
	clear(c.writes)
	for object, version := range there {
		if !atLeast(cached[object], version) {
			c.wrote(object, version, false, now)
		}
	}
	for object, version := range cached {
		if there[object] == "" {
			c.wrote(object, version, true, now)
		}
	}
	return len(c.writes) == 0
}

// shownBy tells whether a cache shows the write. version is the cached version of the
// object, empty if the cache does not have the object.
func (w ownWrite) shownBy(version string) bool {
	if w.gone {
		return version == "" || !atLeast(w.version, version)
	}
	return atLeast(version, w.version)
}

// atLeast tells whether a version of an object is at least as new as another version. If
// the two cannot be compared, version counts as the newer.
func atLeast(version, other string) bool {
	if version == "" || other == "" {
		return other == ""
	}
	order, err := resourceversion.CompareResourceVersion(version, other)
	return err != nil || order >= 0
}

// wrote records the answer to a write.
func (c *Confirmed) wrote(object drift.Object, version string, gone bool, now time.Time) {
	if c.writes == nil {
		c.writes = map[drift.Object]ownWrite{}
	}
	c.writes[object] = ownWrite{version: version, gone: gone, at: now}
}

// failed marks the cache as stale after a write without an answer, because the write may
// have been made; or after an answer that shows a stale cache.
func (c *Confirmed) failed(err error) {
	answered := errors.As(err, new(apierrors.APIStatus))
	if !answered || apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		c.caughtUp = false
	}
}

// versionsIn returns the versions of the objects written by the operator, or decisive for
// rollouts: policies, enactments, and managed objects of Calico.
func versionsIn(snapshot state.Snapshot) map[drift.Object]string {
	versions := map[drift.Object]string{}
	add := func(kind string, object client.Object) {
		versions[drift.Object{Kind: kind, Name: object.GetName()}] = object.GetResourceVersion()
	}
	for i := range snapshot.Policies {
		add(kindPolicy, &snapshot.Policies[i])
	}
	for i := range snapshot.Enactments {
		add(kindEnactment, &snapshot.Enactments[i])
	}
	for i := range snapshot.Outlived {
		add(kindEnactment, &snapshot.Outlived[i])
	}
	for _, object := range drift.ObjectsOf(snapshot.Calico) {
		if _, labelled := object.GetLabels()[v1alpha1.LabelPolicy]; labelled || plan.Written(object) {
			versions[drift.ObjectOf(object)] = object.GetResourceVersion()
		}
	}
	return versions
}
