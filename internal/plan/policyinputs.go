// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"reflect"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// PolicyInputs has the parts of policies that are read to plan NetworkPolicies, taints and
// traffic policies, and to compare with the cluster. Reports change the status of a policy
// every second while there is drift, and must not cause a whole new plan.
type PolicyInputs struct {
	policies []v1alpha1.ControlPlaneNetworkPolicy
	invalid  []string
}

// InputsOf returns the inputs from policies.
func InputsOf(policies []Policy) PolicyInputs {
	var in PolicyInputs
	for i := range policies {
		p, invalid := *policies[i].ControlPlaneNetworkPolicy, ""
		p.ResourceVersion, p.ManagedFields = "", nil
		p.Status = statusInputs(p.Status)
		if policies[i].Invalid != nil {
			invalid = policies[i].Invalid.Error()
		}
		in.policies, in.invalid = append(in.policies, p), append(in.invalid, invalid)
	}
	return in
}

// statusInputs returns the needed parts of a status: whether the policy is verified, and
// the format of the policy's records. KnownAPIServers reads the API servers.
func statusInputs(status v1alpha1.ControlPlaneNetworkPolicyStatus) v1alpha1.ControlPlaneNetworkPolicyStatus {
	read := v1alpha1.ControlPlaneNetworkPolicyStatus{ObservedGeneration: status.ObservedGeneration, RecordFormat: status.RecordFormat}
	if verified := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionVerified); verified != nil {
		read.Conditions = []metav1.Condition{{
			Type: verified.Type, Status: verified.Status, Reason: verified.Reason, ObservedGeneration: verified.ObservedGeneration,
		}}
	}
	return read
}

// Same tells whether two inputs are equal.
func (in PolicyInputs) Same(other PolicyInputs) bool { return reflect.DeepEqual(in, other) }
