// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MaxReportedDrift is how many drifted objects the status lists. The counts
// beside the list are of all of them.
const MaxReportedDrift = 16

// ControlPlaneNetworkPolicyStatus is the observed posture.
type ControlPlaneNetworkPolicyStatus struct {
	// conditions are the state of the policy; conditions.go lists their types
	// and reasons.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status is of.
	// +kubebuilder:validation:Minimum=1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// profile is what kind of cluster it is taken for, and why.
	// +optional
	Profile *ResolvedProfile `json:"profile,omitempty"`

	// apiServers are the addresses that API servers have, or had not long ago. All
	// of them are in the role ControlPlane.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=address
	// +optional
	APIServers []APIServerAddress `json:"apiServers,omitempty"`

	// matchedNodes is how many nodes the nodeSelector selects.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MatchedNodes *int32 `json:"matchedNodes,omitempty"`

	// podsToEvict is how many running pods would be evicted by NoExecute
	// taints that are declared but not yet on their nodes.
	// +kubebuilder:validation:Minimum=0
	// +optional
	PodsToEvict *int32 `json:"podsToEvict,omitempty"`

	// networkPolicies counts the NetworkPolicies that the policy calls for.
	// +optional
	NetworkPolicies SyncCount `json:"networkPolicies,omitzero"`

	// hostPolicies counts the objects of Calico that the policy calls for.
	// +optional
	HostPolicies SyncCount `json:"hostPolicies,omitzero"`

	// nodes counts the nodes whose hosts the policy protects, by how far that is.
	// +optional
	Nodes *NodeCounts `json:"nodes,omitempty"`

	// taints counts the taints that the policy calls for, over all nodes.
	// +optional
	Taints SyncCount `json:"taints,omitzero"`

	// services counts the Services that the policy calls for.
	// +optional
	Services SyncCount `json:"services,omitzero"`

	// driftedObjects is how many objects differ from what is declared.
	// +kubebuilder:validation:Minimum=0
	// +optional
	DriftedObjects *int32 `json:"driftedObjects,omitempty"`

	// drift lists differences, sorted by object, the first 16 of them.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Drift []Drift `json:"drift,omitempty"`

	// recordFormat is 2 once what was done to Nodes is in ControlPlaneNodeRecords.
	// Of a policy without it, which an earlier version served, that is moved over
	// from annotations of the Nodes. Afterwards the annotations mean nothing.
	// +kubebuilder:validation:Minimum=1
	// +optional
	RecordFormat int32 `json:"recordFormat,omitempty"`

	// lastDrift is the drift that was repaired most recently.
	// +optional
	LastDrift *Drift `json:"lastDrift,omitempty"`

	// lastDriftTime is when that was.
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

	// missingSince is since when no API server has had the address. It is
	// forgotten after 7 days.
	// +optional
	MissingSince *metav1.Time `json:"missingSince,omitempty"`
}

// ResolvedProfile is what kind of cluster it is taken for.
type ResolvedProfile struct {
	// distribution is the distribution, or Unknown.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Distribution string `json:"distribution,omitempty"`

	// distributionReason says why.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	DistributionReason string `json:"distributionReason,omitempty"`

	// cni is what connects the pods, or Unknown.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	CNI string `json:"cni,omitempty"`

	// cniReason says why.
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

// SyncCount counts things that the policy calls for.
type SyncCount struct {
	// declared is how many the policy calls for.
	// +kubebuilder:validation:Minimum=0
	// +required
	Declared *int32 `json:"declared,omitempty"`

	// inSync is how many of them are as declared.
	// +kubebuilder:validation:Minimum=0
	// +required
	InSync *int32 `json:"inSync,omitempty"`
}

// DriftCause says in what way an object differs.
//
// +kubebuilder:validation:Enum=Missing;Modified;Unexpected
type DriftCause string

const (
	// CauseMissing means that what is declared is not there.
	CauseMissing DriftCause = "Missing"
	// CauseModified means that it is there with another content.
	CauseModified DriftCause = "Modified"
	// CauseUnexpected means that something is there that should not be.
	CauseUnexpected DriftCause = "Unexpected"
)

// DriftState says what the operator does about a difference.
//
// +kubebuilder:validation:Enum=Drifted;Pending;HeldBack;EndpointsMissing;Forced;Conflicted;Contested;NotApplicable
type DriftState string

const (
	// StateDrifted means that somebody changed what had been put right, or,
	// in mode Audit, that it is not as declared. Enforce repairs it.
	StateDrifted DriftState = "Drifted"
	// StatePending means that it has never been as declared: new intent, a
	// new object or a new version of the operator. Enforce writes it.
	StatePending DriftState = "Pending"
	// StateHeldBack means that writing it now would do harm.
	StateHeldBack DriftState = "HeldBack"
	// StateEndpointsMissing means that it is as declared, a traffic policy
	// Local, and that nodes which may need the Service have no ready endpoint
	// now, so that they drop its traffic. Nothing is written.
	StateEndpointsMissing DriftState = "EndpointsMissing"
	// StateForced means the same of a Service whose entry has localPolicy
	// Force. It counts as no difference.
	StateForced DriftState = "Forced"
	// StateConflicted means that somebody else declares the field.
	StateConflicted DriftState = "Conflicted"
	// StateContested means that the field is rewritten again and again, also
	// while it happens to be as declared. It is repaired at most once a second.
	StateContested DriftState = "Contested"
	// StateNotApplicable means that the object can not have the field, such as
	// a ClusterIP Service an externalTrafficPolicy. It counts as no drift.
	StateNotApplicable DriftState = "NotApplicable"
)

// Drift is one difference between what is declared and what is there.
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

	// field that differs, as a path; empty when it is the whole object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Field string `json:"field,omitempty"`

	// cause says in what way it differs.
	// +required
	Cause DriftCause `json:"cause,omitempty"`

	// state says what the operator does about it.
	// +required
	State DriftState `json:"state,omitempty"`

	// expected is what is declared, shortened if it is long.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Expected string `json:"expected,omitempty"`

	// actual is what is there, shortened if it is long.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Actual string `json:"actual,omitempty"`

	// manager is the field manager that made the difference, from the object's
	// managedFields. Empty when they do not tell: they vanish with a deleted
	// object and a removed field.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Manager string `json:"manager,omitempty"`

	// message says more where there is more to say, such as why a field is
	// held back.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// NodeCounts counts nodes by the phase of their ControlPlaneNodeEnactment.
type NodeCounts struct {
	// pending have not been begun.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Pending *int32 `json:"pending,omitempty"`

	// progressing are under way: restricted, and being tried.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Progressing *int32 `json:"progressing,omitempty"`

	// enforced are done.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Enforced *int32 `json:"enforced,omitempty"`

	// reverted were taken back.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Reverted *int32 `json:"reverted,omitempty"`

	// aborted were not begun, or taken back, because another one was reverted.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Aborted *int32 `json:"aborted,omitempty"`
}
