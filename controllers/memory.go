// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// remembering returns the shared object with what the operator remembers of it.
func remembering(history *drift.History, shared drift.Shared, uid types.UID) drift.Shared {
	shared.Remembered = history.Recall(shared.Object, uid)
	return shared
}

// remembered returns the repair of a shared object, which is remembered once it is
// made, or where there is nothing to write.
func (r *Repairer) remembered(uid types.UID, outcome drift.Outcome, job repair) repair {
	if !job.needed {
		r.History.Remember(job.object, uid, outcome.Remember)
		return job
	}
	write := job.write
	job.write = func(ctx context.Context) error {
		if err := write(ctx); err != nil {
			return err
		}
		r.History.Remember(job.object, uid, outcome.Remember)
		r.History.Kept(outcome.Kept)
		return nil
	}
	return job
}

// goneShared notes that a shared object is not there any more.
func (r *Repairer) goneShared(object drift.Object) {
	r.gone(object)
	r.History.Remember(object, "", nil)
}
