// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ControlPlaneNodeEnactment says how far the protection of one control-plane
// node is, as one ControlPlaneNetworkPolicy declares it: what was done, which
// connections were tried before and after, and why it was taken back if it was.
// The operator writes it, and probes write what they found; its name is
// <policy>.<node>. Annotate it with cpnp.dev/confirm where the policy waits for
// that.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cpne,path=controlplanenodeenactments
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policy`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.conditions[?(@.status=="True")].type`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.status=="True")].reason`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ControlPlaneNodeEnactment struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the node's probes are asked to try.
	// +required
	Spec ControlPlaneNodeEnactmentSpec `json:"spec,omitzero"`

	// status is how far the node is.
	// +optional
	Status ControlPlaneNodeEnactmentStatus `json:"status,omitzero"`
}

// ControlPlaneNodeEnactmentList is a list of ControlPlaneNodeEnactment.
//
// +kubebuilder:object:root=true
type ControlPlaneNodeEnactmentList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the enactments.
	Items []ControlPlaneNodeEnactment `json:"items"`
}

// ControlPlaneNodeEnactmentSpec says whose protection of which node it is, and
// what is to be tried.
type ControlPlaneNodeEnactmentSpec struct {
	// policy is the name of the ControlPlaneNetworkPolicy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="policy can not be changed"
	// +required
	Policy string `json:"policy,omitempty"`

	// node is the name of the Node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="node can not be changed"
	// +required
	Node string `json:"node,omitempty"`

	// round counts how often the probes were asked. An observer that has answered
	// an earlier one tries all targets again. In round 0 nothing is asked.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Round *int64 `json:"round,omitempty"`

	// targets are what every observer tries to connect to, on the node, and at
	// addresses that one of the control-plane nodes has and none shows.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=address
	// +listMapKey=port
	// +optional
	Targets []ProbeTarget `json:"targets,omitempty"`
}

// ProbeTarget is a port that is tried with a new TCP connection.
type ProbeTarget struct {
	// address to connect to.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="address must be an IPv4 or IPv6 address"
	// +required
	Address string `json:"address,omitempty"`

	// port to connect to.
	// +required
	Port PortNumber `json:"port,omitempty"`

	// protocol that is spoken. With TLS a handshake is tried as well;
	// certificates are not verified: it is about packets, not about trust.
	// +required
	Protocol ProbeProtocol `json:"protocol,omitempty"`
}

// ProbeProtocol is what is spoken to a target.
//
// +kubebuilder:validation:Enum=TCP;TLS
type ProbeProtocol string

// The protocols of a probe.
const (
	ProbeTCP ProbeProtocol = "TCP"
	ProbeTLS ProbeProtocol = "TLS"
)

// ControlPlaneNodeEnactmentStatus is how far the protection of a node is.
type ControlPlaneNodeEnactmentStatus struct {
	// conditions are Pending, Progressing, Enforced, Reverted and Aborted, of
	// which exactly one is True.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// policyGeneration is the generation of the policy that this is about.
	// +kubebuilder:validation:Minimum=1
	// +optional
	PolicyGeneration int64 `json:"policyGeneration,omitempty"`

	// version is the hash of the rules that the node is to have, or has.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Version string `json:"version,omitempty"`

	// previousVersion is the hash of the rules that the node is taken back to;
	// absent if that is none.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	PreviousVersion string `json:"previousVersion,omitempty"`

	// previousNarrowTime is when the failsafe ports had become narrow for the rules
	// of previousVersion, as which they stay while the node waits with these; absent
	// if they are wide then. A node that is begun has them widened, and is taken back
	// with them wide.
	// +optional
	PreviousNarrowTime *metav1.Time `json:"previousNarrowTime,omitempty"`

	// foundTime is when the node was found with rules that nothing was on record of:
	// nobody knows whether they were tried. They stay until the node's turn comes.
	// Then it goes without them for a moment, and they are tried like new ones.
	// +optional
	FoundTime *metav1.Time `json:"foundTime,omitempty"`

	// startTime is when the node was begun.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// soakTime is when the node passed its probes for the first time; and, once its
	// failsafe ports are narrow, for the first time since.
	// +optional
	SoakTime *metav1.Time `json:"soakTime,omitempty"`

	// narrowTime is when the node had soaked with its failsafe ports wide, and it
	// was decided to narrow them; absent while they are to be wide. All is tried
	// again after that, and soaks again.
	// +optional
	NarrowTime *metav1.Time `json:"narrowTime,omitempty"`

	// askTime is when the observers were last asked.
	// +optional
	AskTime *metav1.Time `json:"askTime,omitempty"`

	// askedRound is the round that the operator asked last, and askedHash a hash of
	// what it asked then. Observers answer nothing else: what somebody else writes
	// into the spec is not tried, and is put right.
	// +kubebuilder:validation:Minimum=1
	// +optional
	AskedRound int64 `json:"askedRound,omitempty"`

	// askedHash is the hash of what the operator asked last.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	AskedHash string `json:"askedHash,omitempty"`

	// before is what the observers reached before the node was begun. Only what
	// was open then counts afterwards.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Before []Observation `json:"before,omitempty"`

	// observers are what the observers found last. Each writes its own item.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Observers []Observation `json:"observers,omitempty"`
}

// ObserverOperator is the name of the observer that is the operator itself.
// Every other is a probe, and has the name of its node.
const ObserverOperator = "operator"

// Observation is what was reached from one place.
type Observation struct {
	// name of the observer: that of the node on which it runs, or operator.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// addresses that packets of the observer may come from, where that is not
	// clear from its node.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=45
	// +listType=set
	// +optional
	Addresses []string `json:"addresses,omitempty"`

	// round that this answers.
	// +kubebuilder:validation:Minimum=1
	// +required
	Round int64 `json:"round,omitempty"`

	// time of the answer.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// results are what became of every target.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=address
	// +listMapKey=port
	// +optional
	Results []ProbeResult `json:"results,omitempty"`
}

// ProbeResult is what became of an attempt to connect.
type ProbeResult struct {
	// address that was tried.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +required
	Address string `json:"address,omitempty"`

	// port that was tried.
	// +required
	Port PortNumber `json:"port,omitempty"`

	// outcome of the attempt.
	// +required
	Outcome ProbeOutcome `json:"outcome,omitempty"`
}

// ProbeOutcome is what became of an attempt to connect. Open: connected, and
// where TLS was tried it was spoken. Silent: connected, but nothing spoke TLS.
// Refused: nothing listens there, or somebody refuses for it. Dropped: there
// was no answer. Unreachable: there is no way there.
//
// +kubebuilder:validation:Enum=Open;Silent;Refused;Dropped;Unreachable
type ProbeOutcome string

// The outcomes of a probe.
const (
	ProbeOpen        ProbeOutcome = "Open"
	ProbeSilent      ProbeOutcome = "Silent"
	ProbeRefused     ProbeOutcome = "Refused"
	ProbeDropped     ProbeOutcome = "Dropped"
	ProbeUnreachable ProbeOutcome = "Unreachable"
)

// Connects says whether a connection was made.
func (o ProbeOutcome) Connects() bool { return o == ProbeOpen || o == ProbeSilent }
