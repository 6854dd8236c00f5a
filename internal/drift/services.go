// SPDX-License-Identifier: Apache-2.0

package drift

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Service returns a Service as a shared object whose fields are its traffic
// policies.
func Service(service *corev1.Service) Shared {
	return Shared{
		Object: Object{Kind: "Service", Namespace: service.Namespace, Name: service.Name},
		Live:   func(field string) *string { return plan.TrafficPolicy(service, field) },
		By: func(field string) Manager {
			return Who(service.ManagedFields, v1alpha1.FieldManagerServices, "spec", field)
		},
		Owned: func(field string) bool {
			return Holds(service.ManagedFields, v1alpha1.FieldManagerServices, "spec", field)
		},
		Record: state.ReadRecord(service.Annotations),
	}
}
