// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// SharedService returns a Service as a shared object. The fields are the traffic policies.
func SharedService(service *corev1.Service) Shared {
	record, unreadable := state.ServiceRecord(service.Annotations)
	return Shared{
		Object: Object{Kind: "Service", Namespace: service.Namespace, Name: service.Name},
		Live:   func(field string) *string { return plan.TrafficPolicy(service, field) },
		By: func(field string) Manager {
			return managerAndTool(service.ManagedFields, v1alpha1.FieldManagerServices, "spec", field)
		},
		Owned: func(field string) bool {
			return HoldsField(service.ManagedFields, v1alpha1.FieldManagerServices, "spec", field)
		},
		Declared: func(field string) Declaration { return declaredPolicy(service, field) },
		Default:  DefaultPolicy,
		Record:   record, Unreadable: unreadable, NoRoom: state.HasNoRoomForRecord(service.Annotations),
	}
}

// DefaultPolicy returns the API server's default for a traffic policy; empty if there is
// none (k8s.io/kubernetes/pkg/apis/core/v1/defaults.go, SetDefaults_Service).
func DefaultPolicy(field string) string {
	switch field {
	case plan.ExternalTrafficPolicy:
		return string(corev1.ServiceExternalTrafficPolicyCluster)
	case plan.InternalTrafficPolicy:
		return string(corev1.ServiceInternalTrafficPolicyCluster)
	}
	return ""
}

func declaredPolicy(service *corev1.Service, field string) Declaration {
	spec, applied := state.LastApplied(service.Annotations)
	said := Declaration{Applied: applied}
	var value string
	if json.Unmarshal(spec[field], &value) != nil || value == "" {
		return said // not there, or null
	}
	said.Declares, said.Value, said.By = true, &value, lastApplier(service.ManagedFields)
	return said
}
