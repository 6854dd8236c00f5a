// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// remembering returns the shared object together with the operator's memory of the object.
func remembering(history *drift.History, shared drift.Shared, uid types.UID) drift.Shared {
	shared.Remembered = history.Recall(shared.Object, uid)
	return shared
}

// remembered returns the repair of a shared object. The outcome is remembered after the
// write, or at once if no write is needed.
func (r *Repairer) remembered(uid types.UID, outcome drift.Outcome, job repair) repair {
	if !job.needed {
		r.History.Remember(job.object, uid, outcome.Remember)
		return job
	}
	job.restored = outcome.Restored
	write, withoutRestoring := job.write, job.withoutRestoring
	job.write = func(ctx context.Context) error {
		if err := write(ctx); err != nil {
			return err
		}
		r.History.Remember(job.object, uid, outcome.Remember)
		r.History.Released(outcome)
		r.logReleased(ctx, outcome)
		return nil
	}
	job.withoutRestoring = func(ctx context.Context, given []owner) error {
		if err := withoutRestoring(ctx, given); err != nil {
			return err
		}
		r.History.Remember(job.object, uid, outcome.WithoutRestoring(of(given)).Remember)
		return nil
	}
	return job
}

// of returns a function that tells whether a policy is among the given policies.
func of(policies []owner) func(policy string) bool {
	return func(policy string) bool {
		return slices.ContainsFunc(policies, func(o owner) bool { return o.name == policy })
	}
}

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
		log.Info("Replaced a record that the operator has not written", "object", f.Object.String(), "field", f.Field,
			"cause", cmp.Or(f.Message, "it tells another original than the operator remembers"), "policy", f.Policy)
	}
	metrics.CountReleased(slices.Concat(outcome.Restored, outcome.Kept))
}

// goneShared records that a shared object does not exist any more.
func (r *Repairer) goneShared(object drift.Object) {
	r.gone(object)
	r.History.Remember(object, "", nil)
}

// countOnly limits metrics to the given policies.
func countOnly(policies []plan.Policy) {
	names := make([]string, 0, len(policies))
	for i := range policies {
		names = append(names, policies[i].Name)
	}
	metrics.SetPolicies(names)
}
