// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"errors"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// WithMemory returns the shared object together with the operator's memory of the object.
func WithMemory(history *drift.History, shared drift.Shared, uid types.UID) drift.Shared {
	shared.Remembered, shared.Unwritten = history.RecallWrites(shared.Object, uid), history.UnwrittenFields(shared.Object)
	return shared
}

// Remembered returns the repair of a shared object. The outcome is remembered after the
// write, or at once if no write is needed.
func (r *Repairer) Remembered(uid types.UID, outcome drift.Outcome, job Job) Job {
	if !job.Needed {
		r.History.RememberWrites(job.Object, uid, outcome.Remember)
		return job
	}
	job.restored = outcome.Restored
	write, withoutRestoring := job.Write, job.WithoutRestoring
	job.Write = func(ctx context.Context) error {
		if err := write(ctx); err != nil {
			if len(outcome.Restored) == 0 && errors.As(err, new(*apply.Incomplete)) {
				r.rememberFirst(job.Object, uid, outcome.Remember)
			}
			return err
		}
		r.History.RememberWrites(job.Object, uid, outcome.Remember)
		r.History.RecordReleases(outcome)
		r.logReleased(ctx, outcome)
		return nil
	}
	job.WithoutRestoring = func(ctx context.Context, given []Owner) error {
		if err := withoutRestoring(ctx, given); err != nil {
			return err
		}
		r.History.RememberWrites(job.Object, uid, outcome.WithoutRestoring(IsAmong(given)).Remember)
		return nil
	}
	return job
}

// rememberFirst remembers the fields of an incomplete write of which nothing is remembered yet.
// The field may be stored, and only the record with the original be missing. A field that was
// written before keeps its memory: the API server may still have the earlier value.
func (r *Repairer) rememberFirst(object drift.Object, uid types.UID, written state.Record) {
	remembered, known := maps.Clone(written), r.History.RecallWrites(object, uid)
	for field := range written {
		if entry, is := known(field); is {
			remembered[field] = entry
		}
	}
	r.History.RememberWrites(object, uid, remembered)
}

// IsAmong returns a function that tells whether a policy is among the given policies.
func IsAmong(policies []Owner) func(policy string) bool {
	return func(policy string) bool {
		return slices.ContainsFunc(policies, func(o Owner) bool { return o.name == policy })
	}
}

var errForgedRecord = errors.New("the record is not as the operator has written it")

// logReleased logs and counts released fields.
func (r *Repairer) logReleased(ctx context.Context, outcome drift.Outcome) {
	log := logf.FromContext(ctx)
	for _, f := range outcome.Restored {
		log.Info("Restored a field that no policy declares any more", "object", f.Object.String(), "field", f.Field,
			"restored", wording.Shorten(f.Expected, 200), "policy", f.Policy)
	}
	for _, f := range outcome.Kept {
		log.Info("Released a field that stays, because others hold it too", "object", f.Object.String(), "field", f.Field,
			"manager", f.By.Name, "policy", f.Policy)
	}
	for _, f := range outcome.Replaced {
		// Others can forge a record again and again. The log repeats an error once a minute, and
		// the event has the cause, which is partly the text of others.
		log.Error(errForgedRecord, "Replaced a record", "object", f.Object.String(), "field", f.Field, "policy", f.Policy)
	}
	metrics.CountReleased(slices.Concat(outcome.Restored, outcome.Kept))
}

// GoneShared records that a shared object does not exist any more.
func (r *Repairer) GoneShared(object drift.Object) {
	r.gone(object)
	r.History.RememberWrites(object, "", nil)
}

// CountOnly limits metrics to the given policies.
func CountOnly(policies []plan.Policy) {
	names := make([]string, 0, len(policies))
	for i := range policies {
		names = append(names, policies[i].Name)
	}
	metrics.SetPolicies(names)
}
