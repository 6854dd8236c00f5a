// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import corev1 "k8s.io/api/core/v1"

// Taint is a taint that every selected node must have.
//
// +kubebuilder:validation:XValidation:rule="self.effect != 'NoExecute' || (has(self.allowEviction) && self.allowEviction)",message="effect NoExecute evicts the pods that do not tolerate the taint: set allowEviction: true on it if that is meant, or use NoSchedule"
// +kubebuilder:validation:XValidation:rule="self.effect == 'NoExecute' || !has(self.allowEviction)",message="allowEviction may only be set on a taint with effect NoExecute: leave it out"
type Taint struct {
	// key of the taint. Together with the effect it identifies the taint.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="!format.qualifiedName().validate(self).hasValue()",message="key must be a valid taint key, such as node-role.kubernetes.io/control-plane"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('node.kubernetes.io/') && !self.startsWith('node.cloudprovider.kubernetes.io/')",message="key must not be under node.kubernetes.io or node.cloudprovider.kubernetes.io: Kubernetes sets and removes those taints itself, from the node's condition"
	// +required
	Key string `json:"key,omitempty"`

	// value of the taint.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="value must be a valid label value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or a digit"
	// +optional
	Value string `json:"value,omitempty"`

	// effect of the taint on pods that do not tolerate it.
	// +kubebuilder:validation:Enum=NoSchedule;PreferNoSchedule;NoExecute
	// +required
	Effect corev1.TaintEffect `json:"effect,omitempty"`

	// allowEviction says that the taint may evict pods. The field is required for the
	// effect NoExecute; status.podsToEvict counts the pods while mode is Audit. A taint
	// with NoExecute is set on one node in ten at a time, on the operator's node last,
	// and on no node if the operator could then run nowhere.
	// +optional
	AllowEviction bool `json:"allowEviction,omitempty"`
}
