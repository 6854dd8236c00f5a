// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

const (
	// conflictDelay is how long to wait for the cache when it turned out to be
	// behind. The event that it is waiting for normally comes first.
	conflictDelay = 200 * time.Millisecond
	// maxConflicts is how often in a row that is the answer. After that it is
	// no race that was lost, but a write that is refused.
	maxConflicts = 5
	// refusedDelay is how long what the API server finds invalid is not written
	// again. With many objects, to try each every 30 seconds would be a load.
	refusedDelay = time.Minute
)

// Repairer carries out repairs, and notes what came of them.
type Repairer struct {
	Clock   clock.PassiveClock
	History *drift.History
	// Report asks for a new report on a policy.
	Report func(policy string)

	releases *releases
	// Retries is when what could not be put right is tried again.
	Retries *Retries
}

// repair is one write that would put one object right.
type repair struct {
	object drift.Object
	// version of the object that the decision was made on.
	version  string
	findings []drift.Finding
	// policies for which it is done.
	policies []string
	// needed says that there is something to write and that it may be written.
	needed bool
	// elsewhere says that what is written is another object, which belongs to it.
	elsewhere bool
	write     func(context.Context) error
	// releasing are the policies that let go of the object with this write.
	releasing []owner
	// restored are fields that get back what was there before, and withoutRestoring is
	// the write that gives that up for some of the policies; nil where nothing can be.
	restored         []drift.Finding
	withoutRestoring func(context.Context, []owner) error
}

// do writes, if there is something to write and the object is not contested.
// It says whether it wrote.
func (r *Repairer) do(ctx context.Context, job repair) (wrote bool, result reconcile.Result, err error) {
	if wait := r.History.Unseen(job.object, job.version, r.Clock.Now()); wait > 0 {
		return true, reconcile.Result{RequeueAfter: wait}, nil
	}
	behind := r.History.Behind(job.object, job.version)
	if behind {
		job.findings = nil
	}
	fresh, wait := r.History.Observe(job.object, job.version, job.findings, r.Clock.Now())
	metrics.CountDetected(fresh)
	if !job.needed {
		if !behind {
			r.settled(job.object)
		}
		return false, reconcile.Result{}, nil
	}
	if wait = max(wait, r.Retries.wait(job.object, r.Clock.Now())); wait > 0 {
		return false, reconcile.Result{RequeueAfter: wait}, nil
	}
	switch err := job.write(ctx); {
	case err == nil:
		r.succeeded(ctx, job)
		return true, reconcile.Result{}, nil
	case r.overtaken(job, err):
		// Somebody was faster. What the cache will show then decides.
		return false, reconcile.Result{RequeueAfter: conflictDelay}, nil
	case mayGiveUp(job, err):
		return r.giveUp(ctx, job, err)
	default:
		r.failed(job, err)
		if delay := r.delayAfter(ctx, job, err); delay > 0 {
			return false, reconcile.Result{RequeueAfter: delay}, nil
		}
		return false, reconcile.Result{}, fmt.Errorf("writing %s: %w", job.object, err)
	}
}

// delayAfter returns when to write again where to do so at once, as errors make the
// queue do, would be of no use; 0 if it may be.
func (r *Repairer) delayAfter(ctx context.Context, job repair, err error) time.Duration {
	switch {
	case apierrors.IsInvalid(err):
		// The same request gets the same answer: a change of the policy or of the
		// object is an event, and a newer API server is not.
		logf.FromContext(ctx).Error(err, "The API server finds a write invalid", "object", job.object.String())
		return refusedDelay
	case errors.As(err, new(*apply.Incomplete)):
		// It differs as before, so nothing was repaired. Its events must not have it
		// written again at once, over and over.
		logf.FromContext(ctx).Error(err, "A write was not stored as written", "object", job.object.String())
		return r.Retries.postpone(job.object, r.Clock.Now())
	}
	return 0
}

// overtaken says whether a write was refused because the object had changed, or
// gone, or come, since it was looked at. What is not found though it was to be created
// is something else: its namespace.
func (r *Repairer) overtaken(job repair, err error) bool {
	changed := apierrors.IsConflict(err) || apierrors.IsNotFound(err) && job.version != "" ||
		apierrors.IsAlreadyExists(err) && job.version == ""
	return changed && r.History.Conflicted(job.object) <= maxConflicts
}

func (r *Repairer) succeeded(ctx context.Context, job repair) {
	r.Retries.forget(job.object)
	if !job.elsewhere {
		r.History.Wrote(job.object, job.version, job.policies, r.Clock.Now())
	}
	r.History.Corrected(job.object, job.findings, r.Clock.Now())
	metrics.CountCorrected(job.findings)
	log := logf.FromContext(ctx)
	for _, f := range job.findings {
		log.Info("Wrote what is declared", "object", f.Object.String(), "field", f.Field, "state", f.State, "cause", f.Cause,
			"expected", wording.Shorten(f.Expected, 200), "actual", wording.Shorten(f.Actual, 200), "manager", f.By.Name, "policy", f.Policy)
	}
}

func (r *Repairer) failed(job repair, err error) {
	reason := string(apierrors.ReasonForError(err))
	if errors.As(err, new(*apply.Incomplete)) {
		reason = metrics.ReasonIncomplete
	}
	if reason == "" {
		reason = metrics.ReasonUnknown
	}
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "Timeout"
	}
	metrics.CountApplyError(job.policies, job.object.Kind, reason)
	r.History.Failed(job.object, job.policies, steady(err), r.Clock.Now())
	for _, policy := range job.policies {
		r.Report(policy)
	}
}

// steady returns the error in words that are the same for every attempt: that
// of a broken connection has a port of this process in it.
func steady(err error) error {
	var broken *url.Error
	if !errors.As(err, &broken) {
		return err
	}
	cause := broken.Err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	return fmt.Errorf("no answer from the API server: %w", cause)
}

// settled notes that there is nothing to write to an object any more. Nothing
// happens to it then, so that no event would make it known.
func (r *Repairer) settled(object drift.Object) {
	r.Retries.forget(object)
	for _, policy := range r.History.Settled(object, r.Clock.Now()) {
		r.Report(policy)
	}
}

// gone notes that an object is not there any more.
func (r *Repairer) gone(object drift.Object) {
	r.History.Observe(object, "", nil, r.Clock.Now())
	r.settled(object)
}

// sooner returns the result that comes back first.
func sooner(a, b reconcile.Result) reconcile.Result {
	if a.RequeueAfter == 0 || b.RequeueAfter != 0 && b.RequeueAfter < a.RequeueAfter {
		return b
	}
	return a
}

// soonerUnless returns the result that comes back first, or the error alone:
// it decides by itself when to come back.
func soonerUnless(err error, a, b reconcile.Result) (reconcile.Result, error) {
	if err != nil {
		return reconcile.Result{}, err
	}
	return sooner(a, b), nil
}
