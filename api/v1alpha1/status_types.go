// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MaxReportedDrift is how many drifted objects the status lists. The counts beside the
// list include all drifted objects.
const MaxReportedDrift = 16

// ControlPlaneNetworkPolicyStatus is the observed posture.
type ControlPlaneNetworkPolicyStatus struct {
	// conditions are the state of the policy. docs/status.md explains all types and
	// reasons.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec to which the status refers; -1
	// while the operator has not seen the policy yet, so that no tool takes a policy
	// without conditions for ready.
	// +kubebuilder:validation:Minimum=-1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// profile is the detected or declared kind of the cluster, and why.
	// +optional
	Profile *ResolvedProfile `json:"profile,omitempty"`

	// apiServers are the addresses of API servers now, or until recently. All these
	// addresses belong to the role ControlPlane.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=address
	// +optional
	APIServers []APIServerAddress `json:"apiServers,omitempty"`

	// matchedNodes is how many nodes the nodeSelector selects.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MatchedNodes *int32 `json:"matchedNodes,omitempty"`

	// podsToEvict is how many running pods would be evicted by NoExecute taints that
	// are declared but not yet on the nodes.
	// +kubebuilder:validation:Minimum=0
	// +optional
	PodsToEvict *int32 `json:"podsToEvict,omitempty"`

	// networkPolicies counts the NetworkPolicies that the policy calls for.
	// +optional
	NetworkPolicies SyncCount `json:"networkPolicies,omitzero"`

	// hostPolicies counts the objects of Calico that the policy calls for.
	// +optional
	HostPolicies SyncCount `json:"hostPolicies,omitzero"`

	// nodes counts the protected nodes by the phase of the rollout.
	// +optional
	Nodes *NodeCounts `json:"nodes,omitempty"`

	// taints counts the taints that the policy calls for, over all nodes.
	// +optional
	Taints SyncCount `json:"taints,omitzero"`

	// services counts the Services that the policy calls for.
	// +optional
	Services SyncCount `json:"services,omitzero"`

	// posture is what was found about spec.posture.
	// +optional
	Posture *PostureStatus `json:"posture,omitempty"`

	// driftedObjects is how many objects differ from what is declared.
	// +kubebuilder:validation:Minimum=0
	// +optional
	DriftedObjects *int32 `json:"driftedObjects,omitempty"`

	// drift lists the first 16 differences, sorted by object.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Drift []Drift `json:"drift,omitempty"`

	// recordFormat is 2 once the changes to Nodes are recorded in
	// ControlPlaneNodeRecords. An earlier version recorded the changes in annotations
	// of the Nodes. If recordFormat is absent, the operator first copies these
	// annotations to ControlPlaneNodeRecords. Afterwards, the annotations have no
	// meaning.
	// +kubebuilder:validation:Minimum=1
	// +optional
	RecordFormat int32 `json:"recordFormat,omitempty"`

	// lastDrift is the drift that was repaired most recently.
	// +optional
	LastDrift *Drift `json:"lastDrift,omitempty"`

	// lastDriftTime is when lastDrift was repaired.
	// +optional
	LastDriftTime *metav1.Time `json:"lastDriftTime,omitempty"`
}

// APIServerAddress is an address of an API server.
type APIServerAddress struct {
	// address is the IP address.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +required
	Address string `json:"address,omitempty"`

	// missingSince is since when no API server has had the address. After 7 days, the
	// address is removed.
	// +optional
	MissingSince *metav1.Time `json:"missingSince,omitempty"`
}

// ResolvedProfile is the detected or declared kind of the cluster.
type ResolvedProfile struct {
	// distribution is the distribution, or Unknown.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Distribution string `json:"distribution,omitempty"`

	// distributionReason says why the distribution was chosen.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	DistributionReason string `json:"distributionReason,omitempty"`

	// cni is the CNI that connects the pods, or Unknown.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	CNI string `json:"cni,omitempty"`

	// cniReason says why the CNI was chosen.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	CNIReason string `json:"cniReason,omitempty"`

	// apiServerPorts are the ports of the API servers.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	APIServerPorts []PortNumber `json:"apiServerPorts,omitempty"`
}

// SyncCount counts objects or fields that the policy declares.
type SyncCount struct {
	// declared is how many objects or fields the policy declares.
	// +kubebuilder:validation:Minimum=0
	// +required
	Declared *int32 `json:"declared,omitempty"`

	// inSync is how many of the declared objects or fields are as declared.
	// +kubebuilder:validation:Minimum=0
	// +required
	InSync *int32 `json:"inSync,omitempty"`
}

// DriftCause says in what way an object differs.
//
// +kubebuilder:validation:Enum=Missing;Modified;Unexpected
type DriftCause string

const (
	// CauseMissing means that the declared object or field does not exist.
	CauseMissing DriftCause = "Missing"
	// CauseModified means that the object or field has another content than declared.
	CauseModified DriftCause = "Modified"
	// CauseUnexpected means that the object or field exists, but should not.
	CauseUnexpected DriftCause = "Unexpected"
)

// DriftState says what the operator does about a difference.
//
// +kubebuilder:validation:Enum=Drifted;Pending;Held;EndpointsMissing;Forced;Conflicted;Contested;NotApplicable
type DriftState string

const (
	// StateDrifted means that the object or field was as declared and has been changed
	// since, or, in mode Audit, is not as declared. Enforce repairs the difference.
	StateDrifted DriftState = "Drifted"
	// StatePending means that the object or field has never been as declared: new
	// intent, a new object or a new version of the operator. Enforce writes the
	// declared content.
	StatePending DriftState = "Pending"
	// StateHeld means that a write would do harm now.
	StateHeld DriftState = "Held"
	// StateEndpointsMissing means that a traffic policy Local is as declared, but that
	// nodes which may need the Service have no ready endpoint now, and so drop the
	// Service's traffic. Nothing is written.
	StateEndpointsMissing DriftState = "EndpointsMissing"
	// StateForced means the same as EndpointsMissing for a Service whose entry has
	// localPolicy Force. The state counts as no difference.
	StateForced DriftState = "Forced"
	// StateConflicted means that another manager declares the field.
	StateConflicted DriftState = "Conflicted"
	// StateContested means that another manager rewrites the field again and again. The
	// state is kept while the field happens to be as declared. The field is repaired at
	// most once a second.
	StateContested DriftState = "Contested"
	// StateNotApplicable means that the object cannot have the field, such as a
	// ClusterIP Service with an externalTrafficPolicy. The state counts as no drift.
	StateNotApplicable DriftState = "NotApplicable"
)

// Drift is one difference between the declared and the actual content.
type Drift struct {
	// kind of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Kind string `json:"kind,omitempty"`

	// namespace of the object, if it has one.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// field that differs, as a path; empty if the whole object differs.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Field string `json:"field,omitempty"`

	// cause says in what way the object or field differs.
	// +required
	Cause DriftCause `json:"cause,omitempty"`

	// state says what the operator does about the difference.
	// +required
	State DriftState `json:"state,omitempty"`

	// expected is the declared content, shortened if long.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Expected string `json:"expected,omitempty"`

	// actual is the content in the cluster, shortened if long.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Actual string `json:"actual,omitempty"`

	// manager is the field manager that made the difference, from the object's
	// managedFields; empty if managedFields do not tell: the entry is lost when an
	// object is deleted or a field is removed.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Manager string `json:"manager,omitempty"`

	// message has further information, such as why a field is held.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// NodeCounts counts nodes by the phase of their ControlPlaneNodeEnactment.
type NodeCounts struct {
	// pending is the number of nodes that are not started.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Pending *int32 `json:"pending,omitempty"`

	// progressing is the number of nodes in flight: restricted, and being tried.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Progressing *int32 `json:"progressing,omitempty"`

	// enforced is the number of nodes that passed and keep the ruleset.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Enforced *int32 `json:"enforced,omitempty"`

	// reverted is the number of nodes that were rolled back.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Reverted *int32 `json:"reverted,omitempty"`

	// aborted is the number of nodes that were not started, or were rolled back,
	// because another node was reverted.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Aborted *int32 `json:"aborted,omitempty"`
}
