// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// ControllerOptions returns the options of a controller with a number of workers.
func ControllerOptions(workers int) controller.Options {
	return controller.Options{MaxConcurrentReconciles: workers, RateLimiter: schedule.NewLimiter()}
}
