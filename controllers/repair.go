// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

// conflictDelay is how long to wait for the cache when it turned out to be
// behind. The event that it is waiting for normally comes first.
const conflictDelay = 200 * time.Millisecond

// Repairer carries out repairs, and notes what came of them.
type Repairer struct {
	Clock   clock.PassiveClock
	History *drift.History
	// Report asks for a new report on a policy.
	Report func(policy string)
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
	write  func(context.Context) error
}

// do writes, if there is something to write and the object is not contested.
// It says whether it wrote.
func (r *Repairer) do(ctx context.Context, job repair) (wrote bool, result reconcile.Result, err error) {
	fresh, wait := r.History.Observe(job.object, job.version, job.findings, r.Clock.Now())
	metrics.Detected(fresh)
	if !job.needed {
		r.History.Settled(job.object, r.Clock.Now())
		return false, reconcile.Result{}, nil
	}
	if wait > 0 {
		return false, reconcile.Result{RequeueAfter: wait}, nil
	}
	switch err := job.write(ctx); {
	case err == nil:
		r.succeeded(ctx, job)
		return true, reconcile.Result{}, nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		// Somebody was faster. What the cache will show then decides.
		return false, reconcile.Result{RequeueAfter: conflictDelay}, nil
	default:
		r.failed(job, err)
		return false, reconcile.Result{}, err
	}
}

func (r *Repairer) succeeded(ctx context.Context, job repair) {
	r.History.Corrected(job.object, job.findings, r.Clock.Now())
	metrics.Corrected(job.findings)
	log := logf.FromContext(ctx)
	for _, f := range job.findings {
		log.Info("Wrote what is declared", "object", f.Object.String(), "field", f.Field, "state", f.State, "cause", f.Cause,
			"expected", drift.Shorten(f.Expected, 200), "actual", drift.Shorten(f.Actual, 200), "manager", f.By.Name, "policy", f.Policy)
	}
}

func (r *Repairer) failed(job repair, err error) {
	reason := string(apierrors.ReasonForError(err))
	if reason == "" {
		reason = "Unknown"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "Timeout"
	}
	metrics.ApplyError(job.policies, job.object.Kind, reason)
	r.History.Failed(job.object, job.policies, err)
	for _, policy := range job.policies {
		r.Report(policy)
	}
}

// gone notes that an object is not there any more.
func (r *Repairer) gone(object drift.Object) {
	r.History.Observe(object, "", nil, r.Clock.Now())
	r.History.Settled(object, r.Clock.Now())
}

// sooner returns the result that comes back first.
func sooner(a, b reconcile.Result) reconcile.Result {
	if a.RequeueAfter == 0 || b.RequeueAfter != 0 && b.RequeueAfter < a.RequeueAfter {
		return b
	}
	return a
}
