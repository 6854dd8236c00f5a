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
	// conflictDelay is how long to wait for a stale cache after a conflict. Normally the event
	// with the newer object arrives before.
	conflictDelay = 200 * time.Millisecond
	// maxConflicts is how many conflicts in a row count as lost races. After more conflicts,
	// the write counts as refused.
	maxConflicts = 5
	// refusedDelay is the pause after an invalid write. With many objects, a try of each object
	// every 30 seconds would load the API server.
	refusedDelay = time.Minute
)

// Repairer carries out repairs, and records the results.
type Repairer struct {
	Clock   clock.PassiveClock
	History *drift.History
	// Report requests a new report on a policy.
	Report func(policy string)

	releases *releases
	// Retries tells when failed repairs are tried again.
	Retries *Retries
}

// repair is one write that ends the drift of one object.
type repair struct {
	object drift.Object
	// version is the object's version at the time of the decision.
	version  string
	findings []drift.Finding
	// policies are the policies that need the repair.
	policies []string
	// needed tells that a write is due and allowed.
	needed bool
	// elsewhere tells that the write changes another object, which belongs to this object.
	elsewhere bool
	write     func(context.Context) error
	// releasing are the policies that release the object by the write.
	releasing []owner
	// restored are the fields with an original to restore. withoutRestoring is the write that
	// abandons the originals for some of the policies; nil if there is no original.
	restored         []drift.Finding
	withoutRestoring func(context.Context, []owner) error
}

// do makes the write if the write is needed and the object is not contested, and tells
// whether a write was made.
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
		// Another writer was faster. The next state of the cache decides.
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

// delayAfter returns when to write again if the immediate retry of the queue would be
// useless; 0 if the queue may retry.
func (r *Repairer) delayAfter(ctx context.Context, job repair, err error) time.Duration {
	switch {
	case apierrors.IsInvalid(err):
		// The same request gets the same answer. A change of the policy or of the object causes an
		// event, but an upgrade of the API server does not, so the write is retried.
		logf.FromContext(ctx).Error(err, "The API server finds a write invalid", "object", job.object.String())
		return refusedDelay
	case errors.As(err, new(*apply.Incomplete)):
		// The object differs as before, so the write repaired nothing. Delay the next write,
		// because otherwise the events of the object would cause endless writes.
		logf.FromContext(ctx).Error(err, "A write was not stored as written", "object", job.object.String())
		return r.Retries.postpone(job.object, r.Clock.Now())
	}
	return 0
}

// overtaken tells whether a write was refused because the object was changed, deleted or
// created after the observation. NotFound for a creation has another cause: a missing
// namespace.
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

// steady returns the error in words that are the same for every attempt: the error of a
// broken connection contains a port of this process.
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

// settled records that no write to an object is needed any more. The report is requested
// here, because no further event of the object would cause a report.
func (r *Repairer) settled(object drift.Object) {
	r.Retries.forget(object)
	for _, policy := range r.History.Settled(object, r.Clock.Now()) {
		r.Report(policy)
	}
}

// gone records that an object does not exist any more.
func (r *Repairer) gone(object drift.Object) {
	r.History.Observe(object, "", nil, r.Clock.Now())
	r.settled(object)
}

// sooner returns the result with the earlier requeue.
func sooner(a, b reconcile.Result) reconcile.Result {
	if a.RequeueAfter == 0 || b.RequeueAfter != 0 && b.RequeueAfter < a.RequeueAfter {
		return b
	}
	return a
}

// soonerUnless returns the result with the earlier requeue, or only the error: the queue
// decides when to retry after an error.
func soonerUnless(err error, a, b reconcile.Result) (reconcile.Result, error) {
	if err != nil {
		return reconcile.Result{}, err
	}
	return sooner(a, b), nil
}
