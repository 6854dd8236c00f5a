// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// How often in a row the API server may refuse a write with which a policy lets go of an
// object. After that the operator gives up: nothing that others do to it may hold up the
// deletion of a policy for ever. With the delays of Retries the first takes half a
// minute; the second, for a webhook that may be about to answer again, two minutes.
const (
	maxRefusals   = 5
	maxUnanswered = 8
)

var (
	// withoutRight matches the words of an API server where RBAC has no rule for a request
	// (k8s.io/apiserver, ForbiddenStatusError). Other refusals are those of admission.
	withoutRight = regexp.MustCompile(`cannot \w+ resource "`)
	// deniedByAdmission matches those of webhooks and policies that deny a request, with
	// whatever code they like (k8s.io/apiserver: ToStatusErr, validating/plugin.go).
	deniedByAdmission = regexp.MustCompile(
		`(?i)admission webhook ".*" denied the request|admissionpolicy '.*' with binding '.*' denied request`)
	// webhookUnanswered matches those of an API server whose webhook does not answer.
	webhookUnanswered = regexp.MustCompile(`failed calling webhook "`)
)

// maxTries returns how often the error may be the answer to a write with which a policy
// lets go of an object; 0 where it is no refusal. What the operator has no right to
// write, it may be given the right to.
func maxTries(err error) int {
	var status apierrors.APIStatus
	switch text := err.Error(); {
	case errors.As(err, new(*apply.Incomplete)):
		return maxRefusals
	case !errors.As(err, &status):
		return 0
	case deniedByAdmission.MatchString(text):
		return maxRefusals
	case webhookUnanswered.MatchString(text):
		return maxUnanswered
	case withoutRight.MatchString(text):
		return 0
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return maxRefusals
	}
	return 0
}

// mayGiveUp says whether the API server has refused a write with which policies let go of
// an object.
func mayGiveUp(job repair, err error) bool { return len(job.releasing) > 0 && maxTries(err) > 0 }

// giveUp ends the tries of the policies that were refused too often to let go of an
// object, and tells so. Where even to give up restoring is refused, they do not wait for
// the object any more. Each policy has its own tries.
func (r *Repairer) giveUp(ctx context.Context, job repair, refusal error) (wrote bool, result reconcile.Result, err error) {
	r.failed(job, refusal)
	result.RequeueAfter = r.Retries.postpone(job.object, r.Clock.Now())
	given := r.Retries.refused(job.object, job.releasing, maxTries(refusal))
	if len(given) == 0 {
		return false, result, nil
	}
	if job.withoutRestoring == nil {
		r.abandon(ctx, job, given, refusal)
		return false, result, nil
	}
	if err := job.withoutRestoring(ctx, given); err != nil {
		if mayGiveUp(job, err) { // and not that others were faster, or that there was no answer
			r.abandon(ctx, job, given, err)
		}
		return false, result, nil
	}
	r.tellGivenUp(ctx, job, given, refusal)
	if len(given) < len(job.releasing) { // the others go on trying
		r.Retries.forgetOf(job.object, given)
		return false, result, nil
	}
	r.succeeded(ctx, job)
	return true, reconcile.Result{}, nil
}

// abandon has policies not wait for an object any more.
func (r *Repairer) abandon(ctx context.Context, job repair, given []owner, refusal error) {
	fresh := slices.DeleteFunc(slices.Clone(given), func(o owner) bool { return r.Retries.abandoned(job.object, o.uid) })
	r.tellGivenUp(ctx, job, fresh, refusal)
	r.Retries.abandon(job.object, given)
	for _, policy := range job.policies {
		r.Report(policy)
	}
}

// tellGivenUp tells what policies do not get done any more.
func (r *Repairer) tellGivenUp(ctx context.Context, job repair, given []owner, refusal error) {
	for _, o := range given {
		logf.FromContext(ctx).Error(refusal, "Gave up letting go of an object", "object", job.object.String(), "policy", o.name)
		var fields []drift.Finding
		for _, f := range job.restored {
			if f.Policy == o.name {
				f.Message = refusal.Error()
				fields = append(fields, f)
			}
		}
		if len(fields) == 0 {
			fields = []drift.Finding{{Policy: o.name, Object: job.object, Message: refusal.Error()}}
		}
		r.History.NotRestored(fields)
	}
}

// releasing returns the policies that let go of a shared object, or of a field of it,
// with what is written to it.
func releasing(shared drift.Shared, outcome drift.Outcome, policies []plan.Policy) []owner {
	var owners []owner
	for i := range policies {
		name := policies[i].Name
		restores := slices.ContainsFunc(outcome.Restored, func(f drift.Finding) bool { return f.Policy == name })
		if restores || shared.Mentions(name) && !outcome.Record.MentionsPolicy(name) && !outcome.Unrecorded.MentionsPolicy(name) {
			owners = append(owners, ownerOf(&policies[i]))
		}
	}
	return owners
}
