// SPDX-License-Identifier: Apache-2.0

package repair

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

// How often in a row the API server may refuse the release of an object by a policy.
// Afterwards the operator abandons the release: no foreign change may block the deletion of
// a policy for ever. With the delays of Retries, maxRefusals takes half a minute.
// maxUnanswered is for webhooks with a short outage, and takes two minutes.
const (
	MaxRefusals   = 5
	MaxUnanswered = 8
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
		return MaxRefusals
	case !errors.As(err, &status):
		return 0
	case deniedByAdmission.MatchString(text):
		return MaxRefusals
	case webhookUnanswered.MatchString(text):
		return MaxUnanswered
	case withoutRight.MatchString(text):
		return 0
	}
	switch status.Status().Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return MaxRefusals
	}
	return 0
}

// mayAbandon tells whether the API server has refused a write by which policies release an
// object.
func mayAbandon(job Job, err error) bool { return len(job.Releasing) > 0 && maxTries(err) > 0 }

// abandonRefused ends the tries of policies with too many refusals to release an object, and emits
// events. If the API server refuses even to forget the originals, the policies do not wait
// for the object any more. Each policy has its own count.
func (r *Repairer) abandonRefused(ctx context.Context, job Job, refusal error) (wrote bool, result reconcile.Result, err error) {
	r.failed(job, refusal)
	result.RequeueAfter = r.Retries.postpone(job.Object, r.Clock.Now())
	refused := r.Retries.refused(job.Object, job.Releasing, maxTries(refusal))
	if len(refused) == 0 {
		return false, result, nil
	}
	if job.WithoutRestoring == nil {
		r.abandon(ctx, job, refused, refusal)
		return false, result, nil
	}
	if err := job.WithoutRestoring(ctx, refused); err != nil {
		if mayAbandon(job, err) { // neither a lost race nor a missing answer
			r.abandon(ctx, job, refused, err)
		}
		return false, result, nil
	}
	r.recordAbandoned(ctx, job, refused, refusal)
	if len(refused) < len(job.Releasing) { // the other policies go on trying
		r.Retries.forgetOf(job.Object, refused)
		return false, result, nil
	}
	r.succeeded(ctx, job)
	return true, reconcile.Result{}, nil
}

// abandon ends the wait of policies for an object.
func (r *Repairer) abandon(ctx context.Context, job Job, refused []Owner, refusal error) {
	fresh := slices.DeleteFunc(slices.Clone(refused), func(o Owner) bool { return r.Retries.Abandoned(job.Object, o.UID) })
	r.recordAbandoned(ctx, job, fresh, refusal)
	r.Retries.abandon(job.Object, refused)
	for _, policy := range job.Policies {
		r.Report(policy)
	}
}

// recordAbandoned reports the releases that policies have abandoned.
func (r *Repairer) recordAbandoned(ctx context.Context, job Job, refused []Owner, refusal error) {
	for _, o := range refused {
		logf.FromContext(ctx).Error(refusal, "Abandoned the release of an object", "object", job.Object.String(), "policy", o.name)
		var fields []drift.Finding
		for _, f := range job.restored {
			if f.Policy == o.name {
				f.Message = refusal.Error()
				fields = append(fields, f)
			}
		}
		if len(fields) == 0 {
			fields = []drift.Finding{{Policy: o.name, Object: job.Object, Message: refusal.Error()}}
		}
		r.History.RecordNotRestored(fields)
	}
}

// Releasing returns the policies that release a shared object, or a field of the object, by
// the current write.
func Releasing(shared drift.Shared, outcome drift.Outcome, policies []plan.Policy) []Owner {
	var owners []Owner
	for i := range policies {
		name := policies[i].Name
		restores := slices.ContainsFunc(outcome.Restored, func(f drift.Finding) bool { return f.Policy == name })
		if restores || shared.MentionsPolicy(name) && !outcome.Record.MentionsPolicy(name) && !outcome.Unrecorded.MentionsPolicy(name) {
			owners = append(owners, OwnerOf(&policies[i]))
		}
	}
	return owners
}
