// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ControlPlaneNetworkPolicy declares the network posture of a control plane: who may
// connect to its components, which taints keep other pods off its nodes, and how its
// Services treat traffic. In mode Audit, the operator reports how the cluster differs
// from the declaration. In mode Enforce, the operator also repairs the differences.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cpnp,path=controlplanenetworkpolicies
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Drifted",type=string,JSONPath=`.status.conditions[?(@.type=="Drifted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self.metadata.name).hasValue()",message="metadata.name must be at most 63 lower-case letters, digits and hyphens, because it becomes a label's value on what the policy creates"
type ControlPlaneNetworkPolicy struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the declared posture.
	// +required
	Spec ControlPlaneNetworkPolicySpec `json:"spec,omitzero"`

	// status is the observed posture.
	// +kubebuilder:default:={"observedGeneration":-1}
	// +optional
	Status ControlPlaneNetworkPolicyStatus `json:"status,omitzero"`
}

// ControlPlaneNetworkPolicyList is a list of ControlPlaneNetworkPolicy.
//
// +kubebuilder:object:root=true
type ControlPlaneNetworkPolicyList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the policies.
	Items []ControlPlaneNetworkPolicy `json:"items"`
}

// ControlPlaneNetworkPolicySpec is the declared posture.
//
// +kubebuilder:validation:XValidation:rule="has(self.network) || has(self.taints) || has(self.services) || has(self.posture)",message="must declare at least one of network, taints, services and posture"
type ControlPlaneNetworkPolicySpec struct {
	// mode says what the operator does about a difference. Audit (the default): the
	// operator reports the difference, and writes only the status of this object and, for
	// posture.tls, its ControlPlaneNodePostures. Enforce: the operator also repairs the
	// difference.
	// +kubebuilder:default=Audit
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// suspend stops every write except writes of the report, which are those of mode
	// Audit, and keeps what is there. A
	// policy that is deleted while suspended leaves its objects in the cluster, as with
	// deletionPolicy Orphan.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// nodeSelector selects the control-plane nodes. The selector may not be empty.
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="nodeSelector may not be empty, because an empty selector selects every node: use matchLabels with node-role.kubernetes.io/control-plane: \"\""
	// +required
	NodeSelector LabelSelector `json:"nodeSelector,omitzero"`

	// profile says what kind of cluster this is. The components of the control plane,
	// and the connections that must work, follow from the profile.
	// +kubebuilder:default={}
	// +optional
	Profile Profile `json:"profile,omitzero"`

	// network declares who may connect to the components of the control plane.
	// +optional
	Network *NetworkSpec `json:"network,omitempty"`

	// taints are the taints that the selected nodes must have. Other taints of the
	// nodes are left alone.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=key
	// +listMapKey=effect
	// +optional
	Taints []Taint `json:"taints,omitempty"`

	// services are the traffic policies that selected Services must have. If two
	// entries select the same Service, the first entry that declares a field decides
	// the field.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Services []ServiceTrafficPolicy `json:"services,omitempty"`

	// posture declares what the operator reports about the control plane besides: TLS,
	// and backups of etcd.
	// +optional
	Posture *PostureSpec `json:"posture,omitempty"`

	// rollout says how the protection of hosts is rolled out to the nodes.
	// +kubebuilder:default={}
	// +optional
	Rollout *Rollout `json:"rollout,omitempty"`

	// deletionPolicy says what happens in the cluster when this object is deleted.
	// Revert (the default): the operator removes what it created and restores the
	// original values, except for values that another manager has changed since.
	// Orphan: everything stays as it is.
	// +kubebuilder:default=Revert
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// Mode says what the operator does about a difference.
//
// +kubebuilder:validation:Enum=Audit;Enforce
type Mode string

const (
	// ModeAudit reports differences.
	ModeAudit Mode = "Audit"
	// ModeEnforce reports differences and repairs them.
	ModeEnforce Mode = "Enforce"
)

// DeletionPolicy says what happens in the cluster when the policy is deleted.
//
// +kubebuilder:validation:Enum=Revert;Orphan
type DeletionPolicy string

const (
	// DeletionRevert restores the original values.
	DeletionRevert DeletionPolicy = "Revert"
	// DeletionOrphan leaves everything as it is.
	DeletionOrphan DeletionPolicy = "Orphan"
)
