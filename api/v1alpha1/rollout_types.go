// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Rollout says how the protection of hosts is rolled out to the control-plane nodes:
// node after node. Each node is tried with new connections, and rolled back if
// connections fail. The ControlPlaneNodeEnactment of a node says how far the rollout to
// the node is.
//
// Whatever is declared here, no node is started while another control-plane node is not
// ready, and no more nodes are in flight than etcd can lose.
type Rollout struct {
	// maxUnavailable is how many nodes may be in flight at once (default 1). The value
	// is limited to the number of members that etcd can lose: 1 of 3 control-plane
	// nodes, 2 of 5. With fewer than 3 control-plane nodes, etcd can lose none: then
	// only one node at a time is started, and only if confirm is Manual.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	// +kubebuilder:default=1
	// +optional
	MaxUnavailable int32 `json:"maxUnavailable,omitempty"`

	// soakSeconds is how many seconds a node must go on passing its probes before the
	// node is enforced and the next node is started. If the failsafe ports are scoped,
	// the node soaks twice: with open failsafe ports, and then with scoped ones.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=60
	// +optional
	SoakSeconds *int32 `json:"soakSeconds,omitempty"`

	// confirm says who decides that a node keeps its ruleset after the soak. Auto (the
	// default): the probes decide. Manual: the operator also waits for the annotation
	// cpnp.dev/confirm=<generation of the policy> on the node's
	// ControlPlaneNodeEnactment. Without the annotation, the node is rolled back after
	// timeoutSeconds, because silence may mean that nobody can reach the cluster any
	// more.
	// +kubebuilder:default=Auto
	// +optional
	Confirm Confirm `json:"confirm,omitempty"`

	// timeoutSeconds is how many seconds a node may take to pass its probes for the
	// first time, an observer may take to answer, and a confirmation may take to
	// arrive.
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=120
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// Confirm says who decides that a node keeps its ruleset.
//
// +kubebuilder:validation:Enum=Auto;Manual
type Confirm string

const (
	// ConfirmAuto lets the probes decide.
	ConfirmAuto Confirm = "Auto"
	// ConfirmManual waits for a confirmation.
	ConfirmManual Confirm = "Manual"
)
