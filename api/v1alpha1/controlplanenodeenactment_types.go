// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ControlPlaneNodeEnactment tells how far the rollout of one ControlPlaneNetworkPolicy
// to one control-plane node is: which ruleset the node has, which connections were
// probed before and after the start, and, if the node was rolled back, why. The
// operator writes the object, and probes write their observations. The name is
// <policy>.<node>. If the policy has confirm: Manual, confirm the node by annotating
// the enactment with cpnp.dev/confirm.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cpne,path=controlplanenodeenactments
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policy`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.conditions[?(@.status=="True")].type`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.status=="True")].reason`
// +kubebuilder:printcolumn:name="Ruleset",type=string,JSONPath=`.status.ruleset`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ControlPlaneNodeEnactment struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the probe request to the observers.
	// +required
	Spec ControlPlaneNodeEnactmentSpec `json:"spec,omitzero"`

	// status is how far the rollout to the node is.
	// +kubebuilder:default:={"observedGeneration":-1}
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

// ControlPlaneNodeEnactmentSpec names the policy, the node, and the targets that
// observers probe.
type ControlPlaneNodeEnactmentSpec struct {
	// policy is the name of the ControlPlaneNetworkPolicy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="policy of an enactment cannot be changed"
	// +required
	Policy string `json:"policy,omitempty"`

	// node is the name of the Node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="node of an enactment cannot be changed"
	// +required
	Node string `json:"node,omitempty"`

	// probeRound is the number of the probe round. An observer that has answered an
	// earlier round probes all targets again. In round 0, nothing is probed.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ProbeRound *int64 `json:"probeRound,omitempty"`

	// targets are the addresses and ports to which every observer connects: ports of
	// the node, and ports at addresses that belong to a control-plane node and are
	// shown by no Node object.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=address
	// +listMapKey=port
	// +optional
	Targets []ProbeTarget `json:"targets,omitempty"`
}

// ProbeTarget is a port that is probed with a new TCP connection.
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

	// protocol of the probe. With TLS, a handshake follows the connection. Certificates
	// are not verified: a probe tests packets, not trust.
	// +required
	Protocol ProbeProtocol `json:"protocol,omitempty"`
}

// ProbeProtocol is the protocol of a probe.
//
// +kubebuilder:validation:Enum=TCP;TLS
type ProbeProtocol string

// The protocols of a probe.
const (
	ProbeTCP ProbeProtocol = "TCP"
	ProbeTLS ProbeProtocol = "TLS"
)

// ControlPlaneNodeEnactmentStatus is how far the rollout to a node is.
type ControlPlaneNodeEnactmentStatus struct {
	// conditions are the phases Pending, Progressing, Enforced, Reverted and Aborted, of
	// which exactly one is True; and the verdict on the phase: Ready, and while they last
	// Reconciling or Stalled.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the probe request to which the status
	// refers; -1 until the operator has written the status.
	// +kubebuilder:validation:Minimum=-1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// policyGeneration is the generation of the policy to which the status refers.
	// +kubebuilder:validation:Minimum=1
	// +optional
	PolicyGeneration int64 `json:"policyGeneration,omitempty"`

	// ruleset is the hash of the ruleset that is rolled out to the node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Ruleset string `json:"ruleset,omitempty"`

	// previousRuleset is the hash of the ruleset to which the node is rolled back;
	// absent if the node is rolled back to no ruleset.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	PreviousRuleset string `json:"previousRuleset,omitempty"`

	// previousFailsafesScopedTime is when the failsafe ports were scoped for
	// previousRuleset; absent if the failsafe ports are open with previousRuleset.
	// Scoped failsafe ports stay scoped while the node waits for its turn. The ports
	// are opened before the node is started, and stay open when the node is rolled
	// back.
	// +optional
	PreviousFailsafesScopedTime *metav1.Time `json:"previousFailsafesScopedTime,omitempty"`

	// adoptedTime is when the operator adopted the node: the node had rules, and no
	// enactment told whether the rules had been probed. The rules stay until it is the
	// node's turn. Then the rules are removed for a moment and probed like new rules.
	// +optional
	AdoptedTime *metav1.Time `json:"adoptedTime,omitempty"`

	// startTime is when the node was started: the ruleset is written from then on.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// soakTime is when the node passed its probes for the first time with the ruleset.
	// Once the failsafe ports are scoped, soakTime is when the node passed its probes
	// for the first time with scoped failsafe ports.
	// +optional
	SoakTime *metav1.Time `json:"soakTime,omitempty"`

	// failsafesScopedTime is when the operator decided to scope the failsafe ports,
	// after the node had soaked with open failsafe ports; absent while the failsafe
	// ports are open. After this time, the node is probed and soaks again.
	// +optional
	FailsafesScopedTime *metav1.Time `json:"failsafesScopedTime,omitempty"`

	// probeRequestTime is when the last probe round was requested.
	// +optional
	ProbeRequestTime *metav1.Time `json:"probeRequestTime,omitempty"`

	// requestedProbeRound is the probe round that the operator requested last.
	// Observers answer no other round. If another manager changes the spec, the
	// operator overwrites the change.
	// +kubebuilder:validation:Minimum=1
	// +optional
	RequestedProbeRound int64 `json:"requestedProbeRound,omitempty"`

	// probeRequestHash is the hash of the spec with which the operator requested the
	// last probe round. Observers answer no other spec.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	ProbeRequestHash string `json:"probeRequestHash,omitempty"`

	// baseline is what the observers reached before the node was started. A connection
	// is expected to be open after the start only if the connection was open in the
	// baseline.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Baseline []Observation `json:"baseline,omitempty"`

	// observers are the latest observations. Each observer writes its own item.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Observers []Observation `json:"observers,omitempty"`
}

// ObserverOperator is the name of the operator as an observer. Every other observer
// is a probe pod and has the name of its node.
const ObserverOperator = "operator"

// Observation is what one observer reached in a probe round.
type Observation struct {
	// name of the observer: the name of the observer's node, or operator.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// addresses from which packets of the observer may come, if these are not clear
	// from the observer's node.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=45
	// +listType=set
	// +optional
	Addresses []string `json:"addresses,omitempty"`

	// probeRound is the probe round that the observation answers.
	// +kubebuilder:validation:Minimum=1
	// +required
	ProbeRound int64 `json:"probeRound,omitempty"`

	// time of the answer.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// results are the outcomes for all targets.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=address
	// +listMapKey=port
	// +optional
	Results []ProbeResult `json:"results,omitempty"`
}

// ProbeResult is the outcome of an attempt to connect.
type ProbeResult struct {
	// address of the attempt.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +required
	Address string `json:"address,omitempty"`

	// port of the attempt.
	// +required
	Port PortNumber `json:"port,omitempty"`

	// outcome of the attempt.
	// +required
	Outcome ProbeOutcome `json:"outcome,omitempty"`
}

// ProbeOutcome is the outcome of an attempt to connect. Open: the connection was made,
// and with protocol TLS the other side spoke TLS. Silent: the connection was made, but
// the other side did not speak TLS. Refused: nothing listens at the port, or the
// connection was rejected on the way. Dropped: there was no answer. Unreachable: there
// is no route to the address.
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

// IsConnected says whether a connection was made.
func (o ProbeOutcome) IsConnected() bool { return o == ProbeOpen || o == ProbeSilent }
