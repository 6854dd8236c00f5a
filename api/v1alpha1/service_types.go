// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import corev1 "k8s.io/api/core/v1"

// ServiceTrafficPolicy declares how the selected Services treat traffic.
//
// +kubebuilder:validation:XValidation:rule="has(self.externalTrafficPolicy) || has(self.internalTrafficPolicy) || has(self.trafficDistribution)",message="must declare at least one of externalTrafficPolicy, internalTrafficPolicy and trafficDistribution"
type ServiceTrafficPolicy struct {
	// name of the entry, unique in the policy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="name must consist of lower-case letters, digits and hyphens, such as public-ingress"
	// +required
	Name string `json:"name,omitempty"`

	// selector of the Services. It may not be empty.
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="selector may not be empty, because an empty selector selects every Service: name the Services' labels under matchLabels"
	// +required
	Selector LabelSelector `json:"selector,omitzero"`

	// namespaceSelector selects the namespaces of the Services by their
	// labels; {} is every namespace. Use the label
	// kubernetes.io/metadata.name to select a namespace by its name.
	// +required
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"`

	// externalTrafficPolicy that the Services must have. Local keeps the
	// client's address, and drops what arrives at a node without a ready
	// endpoint. So it is set only on a Service that has a ready endpoint on a
	// node that load balancers use, and reported as held back on the others.
	// It concerns Services of type NodePort and LoadBalancer only.
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`

	// internalTrafficPolicy that the Services must have.
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	InternalTrafficPolicy corev1.ServiceInternalTrafficPolicy `json:"internalTrafficPolicy,omitempty"`

	// trafficDistribution that the Services must have.
	// +kubebuilder:validation:Enum=PreferClose;PreferSameZone;PreferSameNode
	// +optional
	TrafficDistribution string `json:"trafficDistribution,omitempty"`

	// conflictPolicy says what happens to a field that someone else declares
	// with server-side apply (Argo CD, Flux, Helm). Report, which is the
	// meaning when left out: it is left alone and reported. Override: it is
	// taken over. A field that was merely set is taken over in any case.
	// +optional
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`
}

// ConflictPolicy says what happens to a field that someone else declares.
//
// +kubebuilder:validation:Enum=Report;Override
type ConflictPolicy string

const (
	// ConflictReport leaves the field alone and reports it.
	ConflictReport ConflictPolicy = "Report"
	// ConflictOverride takes the field over.
	ConflictOverride ConflictPolicy = "Override"
)
