// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import corev1 "k8s.io/api/core/v1"

// ServiceTrafficPolicy declares how the selected Services treat traffic.
//
// +kubebuilder:validation:XValidation:rule="!has(self.localPolicy) || self.localPolicy != 'Force' || (has(self.externalTrafficPolicy) && self.externalTrafficPolicy == 'Local') || (has(self.internalTrafficPolicy) && self.internalTrafficPolicy == 'Local')",message="localPolicy may be Force only when externalTrafficPolicy or internalTrafficPolicy is Local"
// +kubebuilder:validation:XValidation:rule="has(self.externalTrafficPolicy) || has(self.internalTrafficPolicy) || has(self.trafficDistribution)",message="must declare at least one of externalTrafficPolicy, internalTrafficPolicy and trafficDistribution"
type ServiceTrafficPolicy struct {
	// name of the entry, unique in the policy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="name must consist of lower-case letters, digits and hyphens, such as public-ingress"
	// +required
	Name string `json:"name,omitempty"`

	// selector of the Services. The selector may not be empty.
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="selector may not be empty, because an empty selector selects every Service: name the Services' labels under matchLabels"
	// +required
	Selector LabelSelector `json:"selector,omitzero"`

	// namespaceSelector selects the namespaces of the Services by their labels; {} is
	// every namespace. To select a namespace by its name, use the label
	// kubernetes.io/metadata.name.
	// +required
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"`

	// externalTrafficPolicy that the Services must have. With Local, the client's
	// address is kept, and a node without a ready endpoint drops traffic that arrives
	// at the node. The field applies to Services that can be reached from outside:
	// Services of type NodePort and LoadBalancer, and Services with externalIPs.
	// localPolicy says when Local is held and reported.
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`

	// internalTrafficPolicy that the Services must have. With Local, the pods of a node
	// without a ready endpoint cannot reach the Service at all. localPolicy says when
	// Local is held and reported.
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	InternalTrafficPolicy corev1.ServiceInternalTrafficPolicy `json:"internalTrafficPolicy,omitempty"`

	// localPolicy says where a traffic policy Local is set. Safe (the meaning if
	// localPolicy is left out): Local is set only where no traffic is dropped.
	// Internally, every node must have a ready endpoint. Externally, every node must
	// have a ready endpoint too, or, behind a load balancer that checks the health of
	// nodes, a single node. Force: Local is set everywhere, except on the Service of
	// the API servers (default/kubernetes), and internally on the Service of the
	// cluster's DNS, for which Safe always applies.
	// +optional
	LocalPolicy LocalPolicy `json:"localPolicy,omitempty"`

	// trafficDistribution that the Services must have. PreferSameZone and
	// PreferSameNode need Kubernetes 1.34. PreferClose is the older, deprecated
	// name of PreferSameZone.
	// +kubebuilder:validation:Enum=PreferClose;PreferSameZone;PreferSameNode
	// +optional
	TrafficDistribution string `json:"trafficDistribution,omitempty"`

	// conflictPolicy says what happens to a field that another manager declares, with
	// server-side apply, with client-side apply, or as a tool that restores what is
	// declared elsewhere (Argo CD, Flux, Helm). Report (the meaning if conflictPolicy
	// is left out): the operator leaves the field alone, and reports the conflict.
	// Override: the operator takes over the field. Then both managers rewrite the field
	// again and again, unless the other manager is told to ignore the field. A field
	// that another manager has merely set, but not declared, is taken over in any case.
	// +optional
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`
}

// ConflictPolicy says what happens to a field that another manager declares.
//
// +kubebuilder:validation:Enum=Report;Override
type ConflictPolicy string

const (
	// ConflictReport leaves the field alone and reports the conflict.
	ConflictReport ConflictPolicy = "Report"
	// ConflictOverride takes over the field.
	ConflictOverride ConflictPolicy = "Override"
)

// LocalPolicy says where a traffic policy Local is set.
//
// +kubebuilder:validation:Enum=Safe;Force
type LocalPolicy string

const (
	// LocalSafe sets Local where no traffic is dropped.
	LocalSafe LocalPolicy = "Safe"
	// LocalForce sets Local even if nodes have no ready endpoint.
	LocalForce LocalPolicy = "Force"
)
