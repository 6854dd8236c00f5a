// SPDX-License-Identifier: Apache-2.0

package repair

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
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

const (
	// maxConflicts is how many conflicts in a row count as lost races. After more conflicts,
	// the write counts as refused.
	maxConflicts = 5
)

// Repairer carries out repairs, and records the results.
type Repairer struct {
	Clock   clock.PassiveClock
	History *drift.History
	// Report requests a new report on a policy.
	Report func(policy string)

	Releases *Releases
	// Retries tells when failed repairs are tried again.
	Retries *Retries
}

// Job is a single write that ends the drift of an object.
type Job struct {
	Object drift.Object
	// version is the object's version at the time of the decision.
	Version  string
	Findings []drift.Finding
	// policies are the policies that need the repair.
	Policies []string
	// needed tells that a write is due and allowed.
	Needed bool
	// elsewhere tells that the write changes another object, which belongs to the job's
	// object.
	Elsewhere bool
	// RecordFirst tells that the write stores the record of the object before the object.
	RecordFirst bool
	Write       func(context.Context) error
	// releasing are the policies that release the object by the write.
	Releasing []Owner
	// restored are the fields with an original to restore. withoutRestoring is the write that
	// abandons the originals for some of the policies; nil if there is no original.
	restored         []drift.Finding
	WithoutRestoring func(context.Context, []Owner) error
}

// Do makes the write if the write is needed and the object is not contested, and tells
// whether a write was made.
func (r *Repairer) Do(ctx context.Context, job Job) (wrote bool, result reconcile.Result, err error) {
	if wait := r.History.UnseenFor(job.Object, job.Version, r.Clock.Now()); wait > 0 {
		return true, reconcile.Result{RequeueAfter: wait}, nil
	}
	behind := r.History.IsStale(job.Object, job.Version)
	if behind {
		job.Findings = nil
	} else if job.RecordFirst {
		r.History.RecordSeen(job.Object, job.Findings)
	}
	fresh, wait := r.History.Observe(job.Object, job.Version, job.Findings, r.Clock.Now())
	metrics.CountDetected(fresh)
	if !job.Needed {
		if !behind {
			r.settled(job.Object)
		}
		return false, reconcile.Result{}, nil
	}
	if wait = max(wait, r.Retries.wait(job.Object, r.Clock.Now())); wait > 0 {
		return false, reconcile.Result{RequeueAfter: wait}, nil
	}
	err = job.Write(ctx)
	if job.RecordFirst {
		r.recordFields(job, err)
	}
	switch {
	case err == nil:
		r.succeeded(ctx, job)
		return true, reconcile.Result{}, nil
	case r.overtaken(job, err):
		// Another writer was faster. The next state of the cache decides.
		return false, reconcile.Result{RequeueAfter: timing.ConflictDelay}, nil
	case mayAbandon(job, err):
		return r.abandonRefused(ctx, job, err)
	default:
		r.failed(job, err)
		if delay := r.delayAfter(ctx, job, err); delay > 0 {
			return false, reconcile.Result{RequeueAfter: delay}, nil
		}
		return false, reconcile.Result{}, fmt.Errorf("writing %s: %w", job.Object, err)
	}
}

// recordFields records which fields were written. An incomplete write has written them, and
// another writer has changed them on the way.
func (r *Repairer) recordFields(job Job, err error) {
	if err == nil || errors.As(err, new(*apply.Incomplete)) {
		r.History.RecordWritten(job.Object, job.Findings)
		return
	}
	r.History.RecordUnwritten(job.Object, job.Findings)
}

// delayAfter returns when to write again if the immediate retry of the queue would be
// useless; 0 if the queue may retry.
func (r *Repairer) delayAfter(ctx context.Context, job Job, err error) time.Duration {
	switch {
	case apierrors.IsInvalid(err):
		// The same request gets the same answer. A change of the policy or of the object causes an
		// event, but an upgrade of the API server does not, so the write is retried.
		logf.FromContext(ctx).Error(err, "The API server finds a write invalid", "object", job.Object.String())
		return timing.InvalidRetry
	case errors.As(err, new(*apply.Incomplete)):
		// The object differs as before, so the write repaired nothing. Delay the next write,
		// because otherwise the events of the object would cause endless writes.
		logf.FromContext(ctx).Error(err, "A write was not stored as written", "object", job.Object.String())
		return r.Retries.postpone(job.Object, r.Clock.Now())
	}
	return 0
}

// overtaken tells whether a write was refused because the object was changed, deleted or
// created after the observation. NotFound for a creation has another cause: a missing
// namespace.
func (r *Repairer) overtaken(job Job, err error) bool {
	changed := apierrors.IsConflict(err) || apierrors.IsNotFound(err) && job.Version != "" ||
		apierrors.IsAlreadyExists(err) && job.Version == ""
	return changed && r.History.RecordConflict(job.Object) <= maxConflicts
}

func (r *Repairer) succeeded(ctx context.Context, job Job) {
	r.Retries.forget(job.Object)
	if !job.Elsewhere {
		r.History.RecordWrite(job.Object, job.Version, job.Policies, r.Clock.Now())
	}
	r.History.RecordRepair(job.Object, job.Findings, r.Clock.Now())
	metrics.CountCorrected(job.Findings)
	log := logf.FromContext(ctx)
	for _, f := range job.Findings {
		log.Info("Wrote what is declared", "object", f.Object.String(), "field", f.Field, "state", f.State, "cause", f.Cause,
			"expected", wording.Shorten(f.Expected, 200), "actual", wording.Shorten(f.Actual, 200), "manager", f.By.Name, "policy", f.Policy)
	}
}

func (r *Repairer) failed(job Job, err error) {
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
	metrics.CountApplyError(job.Policies, job.Object.Kind, reason)
	r.History.RecordFailure(job.Object, job.Policies, SteadyError(err), r.Clock.Now())
	for _, policy := range job.Policies {
		r.Report(policy)
	}
}

// SteadyError returns the error in the same words for every attempt: the error of a broken
// connection contains a port of the process.
func SteadyError(err error) error {
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
	for _, policy := range r.History.RecordSettled(object, r.Clock.Now()) {
		r.Report(policy)
	}
}

// gone records that an object does not exist any more.
func (r *Repairer) gone(object drift.Object) {
	r.History.Observe(object, "", nil, r.Clock.Now())
	r.settled(object)
}
