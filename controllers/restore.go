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

// How often in a row the API server may refuse a write by which a policy releases an
// object. Afterwards the operator abandons the release: no foreign change may block the
// deletion of a policy for ever. With the delays of Retries, maxRefusals takes half a
// minute. maxUnanswered is for webhooks that may answer again soon, and takes two minutes.
const (
	maxRefusals   = 5
	maxUnanswered = 8
)

var (
	// withoutRight matches the answer of an API server if RBAC has no rule for a request
	// (k8s.io/apiserver, ForbiddenStatusError). Other refusals come from admission.
	withoutRight = regexp.MustCompile(`cannot \w+ resource "`)
	// deniedByAdmission matches the answer if a webhook or an admission policy denies a
	// request, with any status code (k8s.io/apiserver: ToStatusErr, validating/plugin.go).
	deniedByAdmission = regexp.MustCompile(
		`(?i)admission webhook ".*" denied the request|admissionpolicy '.*' with binding '.*' denied request`)
	// webhookUnanswered matches the answer of an API server whose webhook does not answer.
	webhookUnanswered = regexp.MustCompile(`failed calling webhook "`)
)

// maxTries returns how often err may be the answer to a write by which a policy releases an
// object; 0 if err is no refusal. Missing RBAC rights are no refusal, because an
// administrator may still grant the rights.
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

// mayGiveUp tells whether the API server has refused a write by which policies release an
// object.
func mayGiveUp(job repair, err error) bool { return len(job.releasing) > 0 && maxTries(err) > 0 }

// giveUp ends the tries of policies with too many refusals to release an object, and emits
// events. If the API server refuses even to forget the originals, the policies do not wait
// for the object any more. Each policy has its own count.
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
		if mayGiveUp(job, err) { // neither a lost race nor a missing answer
			r.abandon(ctx, job, given, err)
		}
		return false, result, nil
	}
	r.tellGivenUp(ctx, job, given, refusal)
	if len(given) < len(job.releasing) { // the other policies go on trying
		r.Retries.forgetOf(job.object, given)
		return false, result, nil
	}
	r.succeeded(ctx, job)
	return true, reconcile.Result{}, nil
}

// abandon ends the wait of policies for an object.
func (r *Repairer) abandon(ctx context.Context, job repair, given []owner, refusal error) {
	fresh := slices.DeleteFunc(slices.Clone(given), func(o owner) bool { return r.Retries.abandoned(job.object, o.uid) })
	r.tellGivenUp(ctx, job, fresh, refusal)
	r.Retries.abandon(job.object, given)
	for _, policy := range job.policies {
		r.Report(policy)
	}
}

// tellGivenUp reports the releases that policies have abandoned.
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

// releasing returns the policies that release a shared object, or a field of the object, by
// the current write.
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
