// SPDX-License-Identifier: Apache-2.0

// Package operator has the common parts of all tests with an operator in the same process.
package operator

import (
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// NewManager returns a manager with the options of the shipped operator, but without any
// listening port. One process may have several managers.
func NewManager(config *rest.Config, change ...func(*ctrl.Options)) (ctrl.Manager, error) {
	o := options.Options{MetricsAddress: "0", ProbeAddress: "0"}
	managerOptions := o.ManagerOptions()
	managerOptions.Controller.SkipNameValidation = ptr.To(true)
	for _, c := range change {
		c(&managerOptions)
	}
	return ctrl.NewManager(options.UnthrottledConfig(config), managerOptions)
}
