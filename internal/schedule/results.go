// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Sooner returns the result with the earlier requeue.
func Sooner(a, b reconcile.Result) reconcile.Result {
	if a.RequeueAfter == 0 || b.RequeueAfter != 0 && b.RequeueAfter < a.RequeueAfter {
		return b
	}
	return a
}

// SoonerUnless returns the result with the earlier requeue, or only the error: the queue
// decides when to retry after an error.
func SoonerUnless(err error, a, b reconcile.Result) (reconcile.Result, error) {
	if err != nil {
		return reconcile.Result{}, err
	}
	return Sooner(a, b), nil
}
