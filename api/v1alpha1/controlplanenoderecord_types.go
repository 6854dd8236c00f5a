// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ControlPlaneNodeRecord has the changes that the operator made to one Node, and the
// original values. With the record, the operator can tell drift from new intent, and
// can remove a taint without removing a taint that another manager had set before. The
// record is not kept on the Node itself, because a kubelet may write the annotations of
// its Node, but not its taints. Only the operator writes the record. The record has the
// name of the Node, and is deleted with the Node.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=cpnr,path=controlplanenoderecords
// +kubebuilder:printcolumn:name="Taints",type=string,JSONPath=`.spec.taints[*].key`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ControlPlaneNodeRecord struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec has the changes.
	// +required
	Spec ControlPlaneNodeRecordSpec `json:"spec,omitzero"`
}

// ControlPlaneNodeRecordList is a list of ControlPlaneNodeRecord.
//
// +kubebuilder:object:root=true
type ControlPlaneNodeRecordList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the records.
	Items []ControlPlaneNodeRecord `json:"items"`
}

// ControlPlaneNodeRecordSpec has the changes to a Node.
type ControlPlaneNodeRecordSpec struct {
	// nodeUID is the UID of the Node. Changes to an earlier Node of the same name do
	// not count.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +required
	NodeUID string `json:"nodeUID,omitempty"`

	// taints are the taints that policies set.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=key
	// +listMapKey=effect
	// +required
	Taints []RecordedTaint `json:"taints,omitempty"`
}

// RecordedTaint is the change to one taint of a Node.
type RecordedTaint struct {
	// key of the taint.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +required
	Key string `json:"key,omitempty"`

	// effect of the taint.
	// +kubebuilder:validation:Enum=NoSchedule;PreferNoSchedule;NoExecute
	// +required
	Effect corev1.TaintEffect `json:"effect,omitempty"`

	// policy is the name of the ControlPlaneNetworkPolicy that declares the taint.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Policy string `json:"policy,omitempty"`

	// applied is the value that was written.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Applied string `json:"applied,omitempty"`

	// original is the value that the taint had before; absent if the Node did not
	// have the taint.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Original *string `json:"original,omitempty"`
}
