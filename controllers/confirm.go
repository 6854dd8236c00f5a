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
	// cacheLag is how long the cache may take to show an own write before the API
	// server is asked instead; and how often it is asked, at most.
	cacheLag = 300 * time.Millisecond
	// lookAgain is when it is asked again while the cache is still behind.
	lookAgain = time.Second
)

// Confirmed knows whether the cache of what rollouts are decided by can be relied on:
// whether it has shown at least what the API server had when this operator began, and
// whether it shows every write that the operator has made since. It is for the one
// worker of policies. A nil one takes every cache as it is.
type Confirmed struct {
	// caughtUp says that the cache was seen to be as new as the API server, and
	// readable that Calico was read then: what is read of it anew may be old again.
	caughtUp, readable bool
	writes             map[drift.Object]ownWrite
	looked             time.Time
	nodes              firstNodes
}

// ownWrite is a write that the cache does not show yet: an object that has to be there
// in this version at least, or that is not to be there any more in it.
type ownWrite struct {
	version string
	gone    bool
	at      time.Time
}

// confirm returns the snapshot if it can be relied on, else what the API server answers
// itself. Where neither can be had now, it says so, and when to try again.
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

// confirmRecords confirms what rollouts are decided by.
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
	if cached.Calico.IsReadable() && shown.Calico.Problem != "" { // what there is of Calico is not known now
		return shown, reconcile.Result{RequeueAfter: lookAgain}
	}
	if r.Confirmed.compare(versionsIn(cached), versionsIn(shown), r.Clock.Now()) {
		return shown, reconcile.Result{}
	}
	return shown, reconcile.Result{RequeueAfter: lookAgain}
}

// begun says whether the API server was asked before, or something is to be seen.
func (c *Confirmed) begun() bool { return !c.looked.IsZero() || len(c.writes) > 0 }

// concernsHosts says whether hosts are protected, or were: where nothing restricts one,
// nobody has to wait.
func concernsHosts(snapshot state.Snapshot) bool {
	return len(snapshot.Enactments)+len(snapshot.Outlived) > 0 || len(drift.ObjectsOf(snapshot.Calico)) > 0 ||
		slices.ContainsFunc(plan.Compile(snapshot.Policies), func(p plan.Policy) bool {
			return p.ProtectsHosts() || p.Intent() == plan.IntentRollBack
		})
}

// reads notes whether Calico can be read now.
func (c *Confirmed) reads(readable bool) {
	c.caughtUp = c.caughtUp && (c.readable || !readable)
	c.readable = readable
}

// wait returns 0 if the cache can be relied on, how long to wait until it is to be asked
// what the API server has, and less than 0 if that is now.
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

// compare takes note of what the API server has, and says whether the cache had all of
// that. What it lacked it has to show before it can be relied on, and no more than that:
// where something changes all the time, it would never be as new as the next look.
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

// shownBy says whether a cache that has an object in this version, empty if not at all,
// shows the write.
func (w ownWrite) shownBy(version string) bool {
	if w.gone {
		return version == "" || !atLeast(w.version, version)
	}
	return atLeast(version, w.version)
}

// atLeast says whether a version of an object is no older than another one. Of those
// that cannot be compared, another one is newer.
func atLeast(version, other string) bool {
	if version == "" || other == "" {
		return other == ""
	}
	order, err := resourceversion.CompareResourceVersion(version, other)
	return err != nil || order >= 0
}

// wrote notes the answer to a write.
func (c *Confirmed) wrote(object drift.Object, version string, gone bool, now time.Time) {
	if c.writes == nil {
		c.writes = map[drift.Object]ownWrite{}
	}
	c.writes[object] = ownWrite{version: version, gone: gone, at: now}
}

// failed notes that a write got no answer, so that nobody knows whether it was made; or
// an answer that shows the cache to be behind.
func (c *Confirmed) failed(err error) {
	answered := errors.As(err, new(apierrors.APIStatus))
	if !answered || apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		c.caughtUp = false
	}
}

// versionsIn returns the versions of the objects that rollouts are decided by, and that
// the operator writes: policies, enactments, and its own of Calico.
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
