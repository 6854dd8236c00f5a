// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"net/http"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// maxRefusals is how often in a row the API server may refuse to restore an object.
// After that the operator gives up: nothing that others do to it may hold up the
// deletion of a policy for ever. With the delays of Retries it takes half a minute.
const maxRefusals = 5

// withoutRight matches the words of an API server where RBAC has no rule for a request
// (k8s.io/apiserver, ForbiddenStatusError). Other refusals are those of admission.
var withoutRight = regexp.MustCompile(`cannot \w+ resource "`)

// refusesToRestore says whether the API server has refused a write that restores
// something. What the operator has no right to write, it may be given the right to.
func (r *Repairer) refusesToRestore(job repair, err error) bool {
	var status apierrors.APIStatus
	if len(job.restored) == 0 || !errors.As(err, &status) {
		return false
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return true
	case http.StatusForbidden:
		return !withoutRight.MatchString(err.Error())
	}
	return false
}

// giveUp ends the tries to restore an object that was refused too often, and tells so.
// Where even that is refused, the object does not count any more.
func (r *Repairer) giveUp(ctx context.Context, job repair, refusal error) (wrote bool, result reconcile.Result, err error) {
	r.failed(job, refusal)
	if tries, delay := r.Retries.refused(job.object, r.Clock.Now()); tries < maxRefusals {
		return false, reconcile.Result{RequeueAfter: delay}, nil
	}
	logf.FromContext(ctx).Error(refusal, "Gave up restoring an object", "object", job.object.String())
	fields := make([]drift.Finding, 0, len(job.restored))
	for _, f := range job.restored {
		f.Message = refusal.Error()
		fields = append(fields, f)
	}
	r.History.NotRestored(fields)
	if err := job.withoutRestoring(ctx); err != nil {
		delay := r.Retries.postpone(job.object, r.Clock.Now())
		if r.refusesToRestore(job, err) { // and not that others were faster, or that there was no answer
			r.Retries.abandon(job.object)
		}
		for _, policy := range job.policies {
			r.Report(policy)
		}
		return false, reconcile.Result{RequeueAfter: delay}, nil
	}
	job.restored = nil
	r.succeeded(ctx, job)
	return true, reconcile.Result{}, nil
}
