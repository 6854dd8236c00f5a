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
	// client's address, and a node without a ready endpoint drops what arrives
	// there. It concerns what is reached from outside: Services of type NodePort
	// and LoadBalancer, and those with externalIPs. Local is held back, and
	// reported, as localPolicy says.
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`

	// internalTrafficPolicy that the Services must have. With Local, the pods
	// of a node without a ready endpoint cannot reach the Service at all. Local
	// is held back, and reported, as localPolicy says.
	// +kubebuilder:validation:Enum=Cluster;Local
	// +optional
	InternalTrafficPolicy corev1.ServiceInternalTrafficPolicy `json:"internalTrafficPolicy,omitempty"`

	// localPolicy says where a traffic policy Local is set. Safe, which is the
	// meaning when left out, sets it only where it drops no traffic: internally
	// where every node has a ready endpoint; externally likewise, or, behind a
	// load balancer that checks the health of nodes, where one node has. Force
	// sets it everywhere but on the Service of the API servers
	// (default/kubernetes), and internally on that of the cluster's DNS, where
	// Safe always holds.
	// +optional
	LocalPolicy LocalPolicy `json:"localPolicy,omitempty"`

	// trafficDistribution that the Services must have. PreferSameZone and
	// PreferSameNode need Kubernetes 1.34. PreferClose is the older, deprecated
	// name of PreferSameZone.
	// +kubebuilder:validation:Enum=PreferClose;PreferSameZone;PreferSameNode
	// +optional
	TrafficDistribution string `json:"trafficDistribution,omitempty"`

	// conflictPolicy says what happens to a field that someone else declares:
	// with server-side apply, with client-side apply, or as a tool that puts
	// back what is declared elsewhere (Argo CD, Flux, Helm). Report, which is
	// the meaning when left out: it is left alone and reported. Override: it is
	// taken over, which starts a fight unless the other side is told to ignore
	// the field. A field that was merely set is taken over in any case.
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

// LocalPolicy says where a traffic policy Local is set.
//
// +kubebuilder:validation:Enum=Safe;Force
type LocalPolicy string

const (
	// LocalSafe sets it where it drops no traffic.
	LocalSafe LocalPolicy = "Safe"
	// LocalForce sets it although nodes lack a ready endpoint.
	LocalForce LocalPolicy = "Force"
)
