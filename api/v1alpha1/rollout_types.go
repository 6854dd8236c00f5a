// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Rollout says how the protection of hosts is brought to the control-plane
// nodes: one after the other, each tried by new connections, and taken back
// where these fail. How far each node is, its ControlPlaneNodeEnactment says.
//
// Whatever is declared here, no node is begun while another control-plane node
// is not ready, and never more nodes are under way than etcd can lose.
type Rollout struct {
	// maxUnavailable is how many nodes may be under way at once. It is lowered to
	// the number of members that etcd can lose: 1 of 3 control-plane nodes, 2 of
	// 5. With fewer than 3 control-plane nodes that is none: then only one at a
	// time is begun, and only if confirm is Manual.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	// +kubebuilder:default=1
	// +optional
	MaxUnavailable int32 `json:"maxUnavailable,omitempty"`

	// soakSeconds is for how long a node must go on passing its probes before it is
	// done, and the next one is begun. Where its failsafe ports are to be narrowed,
	// it soaks twice: with wide ones, and then with narrow ones.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=60
	// +optional
	SoakSeconds *int32 `json:"soakSeconds,omitempty"`

	// confirm says who decides that a node stays as it is after its soak: Auto
	// goes by the probes. Manual also waits for the annotation
	// cpnp.dev/confirm=<generation of the policy> on the node's
	// ControlPlaneNodeEnactment, and takes the node back if it does not come
	// within timeoutSeconds: silence may mean that nobody can get in any more.
	// +kubebuilder:default=Auto
	// +optional
	Confirm Confirm `json:"confirm,omitempty"`

	// timeoutSeconds is how long a node may take to pass its probes for the first
	// time, an observer to answer, and somebody to confirm.
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=86400
	// +kubebuilder:default=120
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// Confirm says who decides that a node stays as it is.
//
// +kubebuilder:validation:Enum=Auto;Manual
type Confirm string

const (
	// ConfirmAuto goes by the probes.
	ConfirmAuto Confirm = "Auto"
	// ConfirmManual waits for somebody.
	ConfirmManual Confirm = "Manual"
)
