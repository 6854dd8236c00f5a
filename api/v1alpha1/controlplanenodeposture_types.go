// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ControlPlaneNodePosture has what observers found about the TLS of the components on one
// control-plane node, for one ControlPlaneNetworkPolicy. The operator writes the targets,
// and every observer writes its own item of status.observers: the operator itself, and each
// probe pod. The name is <policy>.<node>. People have no need to write to the object.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cpnpos,path=controlplanenodepostures
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.spec.policy`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Observers",type=string,JSONPath=`.status.observers[*].name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ControlPlaneNodePosture struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec has the targets.
	// +required
	Spec ControlPlaneNodePostureSpec `json:"spec,omitzero"`

	// status has what the observers found.
	// +optional
	Status ControlPlaneNodePostureStatus `json:"status,omitzero"`
}

// ControlPlaneNodePostureList is a list of ControlPlaneNodePosture.
//
// +kubebuilder:object:root=true
type ControlPlaneNodePostureList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the list's metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the postures.
	Items []ControlPlaneNodePosture `json:"items"`
}

// Limits of the schema of a ControlPlaneNodePosture.
const (
	// MaxTLSTargets is the maximum number of targets.
	MaxTLSTargets = 32
	// MaxWeakCipherSuites is the maximum number of cipher suites in a result.
	MaxWeakCipherSuites = 8
	// MaxCertificates is the maximum number of certificates in a result.
	MaxCertificates = 4
	// MaxCertificateNames is the maximum number of names to cover.
	MaxCertificateNames = 8
)

// ControlPlaneNodePostureSpec says which ports observers probe.
type ControlPlaneNodePostureSpec struct {
	// policy is the name of the ControlPlaneNetworkPolicy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="policy of a posture cannot be changed"
	// +required
	Policy string `json:"policy,omitempty"`

	// node is the name of the Node.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="node of a posture cannot be changed"
	// +required
	Node string `json:"node,omitempty"`

	// intervalSeconds is how often an observer probes every target.
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=900
	// +optional
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`

	// targets are the ports to probe.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=address
	// +listMapKey=port
	// +optional
	Targets []TLSTarget `json:"targets,omitempty"`
}

// TLSTarget is a port that is probed with TLS handshakes.
//
// +kubebuilder:validation:XValidation:rule="!isIP(self.address) || !ip(self.address).isLinkLocalUnicast() && !ip(self.address).isLinkLocalMulticast() && !ip(self.address).isUnspecified()",message="address must be an address of the node, or a loopback address"
// +kubebuilder:validation:XValidation:rule="!isIP(self.address) || !ip(self.address).isLoopback() || self.component in ['etcd', 'etcd-peer', 'kube-scheduler', 'kube-controller-manager']",message="address may be a loopback address only for etcd, the scheduler and the controller manager"
type TLSTarget struct {
	// address to connect to. Only the observer on the node itself tries a loopback
	// address.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="address must be an IPv4 or IPv6 address"
	// +required
	Address string `json:"address,omitempty"`

	// port to connect to.
	// +required
	Port PortNumber `json:"port,omitempty"`

	// component that serves the port.
	// +required
	Component PostureComponent `json:"component,omitempty"`

	// names are names and addresses that the certificate must cover.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Names []string `json:"names,omitempty"`
}

// ControlPlaneNodePostureStatus is what the observers found.
type ControlPlaneNodePostureStatus struct {
	// observers are the latest observations. Each observer writes its own item.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	Observers []TLSObservation `json:"observers,omitempty"`
}

// TLSObservation is what one observer found.
type TLSObservation struct {
	// name of the observer: the name of the observer's node, or operator.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// time when the last target had been probed.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// observedGeneration is the generation of the targets that were probed.
	// +kubebuilder:validation:Minimum=1
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// results are the facts about each target that the observer tried.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=address
	// +listMapKey=port
	// +optional
	Results []TLSResult `json:"results,omitempty"`
}

// TLSResult has the facts about one port. A fact that could not be found out is absent.
type TLSResult struct {
	// address of the attempt.
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	// +required
	Address string `json:"address,omitempty"`

	// port of the attempt.
	// +required
	Port PortNumber `json:"port,omitempty"`

	// outcome of the attempt. Open: the port spoke TLS.
	// +required
	Outcome TLSOutcome `json:"outcome,omitempty"`

	// problem says more about an outcome other than Open.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Problem string `json:"problem,omitempty"`

	// plaintext says whether the port answered a request without TLS.
	// +optional
	Plaintext PlaintextAnswer `json:"plaintext,omitempty"`

	// lowestVersion is the lowest version of TLS that the port accepted, such as
	// VersionTLS12.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	// +optional
	LowestVersion string `json:"lowestVersion,omitempty"`

	// highestVersion is the highest version that the port accepted.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	// +optional
	HighestVersion string `json:"highestVersion,omitempty"`

	// unclear are facts that could not be found out, because an attempt had no clear result:
	// whether the port accepts a version, such as VersionTLS10, or all of the weak cipher
	// suites (WeakCipherSuites).
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	// +listType=set
	// +optional
	Unclear []string `json:"unclear,omitempty"`

	// weakCipherSuites are the weak cipher suites that the port accepted.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	WeakCipherSuites []string `json:"weakCipherSuites,omitempty"`

	// clientCertificate says whether the port asks for a client certificate.
	// +optional
	ClientCertificate ClientCertificateDemand `json:"clientCertificate,omitempty"`

	// certificates is the chain that the port sent, the port's own certificate first.
	// +kubebuilder:validation:MaxItems=4
	// +listType=atomic
	// +optional
	Certificates []Certificate `json:"certificates,omitempty"`

	// uncoveredNames are the names that the port's certificate does not cover.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	UncoveredNames []string `json:"uncoveredNames,omitempty"`

	// issuer says whether the chain ends in the CA that the cluster publishes.
	// +optional
	Issuer CertificateIssuer `json:"issuer,omitempty"`

	// connectMicroseconds is how long the first connection took.
	// +kubebuilder:validation:Minimum=1
	// +optional
	ConnectMicroseconds int64 `json:"connectMicroseconds,omitempty"`

	// handshakeMicroseconds is how long the first TLS handshake took.
	// +kubebuilder:validation:Minimum=1
	// +optional
	HandshakeMicroseconds int64 `json:"handshakeMicroseconds,omitempty"`
}

// TLSOutcome is the outcome of a probe. Open: the port spoke TLS. Silent: a connection was
// made, and nothing came. NotTLS: a connection was made, and the answer was no TLS.
// Refused: nothing listens at the port, or the connection was rejected on the way. Dropped:
// there was no answer. Unreachable: there is no route to the address. NotFinished: the
// observer ran out of time.
//
// +kubebuilder:validation:Enum=Open;Silent;NotTLS;Refused;Dropped;Unreachable;NotFinished
type TLSOutcome string

// The outcomes of a probe with TLS.
const (
	TLSOpen        TLSOutcome = "Open"
	TLSSilent      TLSOutcome = "Silent"
	TLSNotTLS      TLSOutcome = "NotTLS"
	TLSRefused     TLSOutcome = "Refused"
	TLSDropped     TLSOutcome = "Dropped"
	TLSUnreachable TLSOutcome = "Unreachable"
	TLSNotFinished TLSOutcome = "NotFinished"
)

// UnclearCipherSuites is the item of unclear for the weak cipher suites. Other items are
// versions.
const UnclearCipherSuites = "WeakCipherSuites"

// PlaintextAnswer says whether a request without TLS was answered.
//
// +kubebuilder:validation:Enum=Answered;NotAnswered
type PlaintextAnswer string

// The answers to a request without TLS.
const (
	PlaintextAnswered    PlaintextAnswer = "Answered"
	PlaintextNotAnswered PlaintextAnswer = "NotAnswered"
)

// ClientCertificateDemand says whether a server asks for a client certificate. Required: no
// client is served without one. Requested: a client may go without. NotRequested: the
// server asks no client.
//
// +kubebuilder:validation:Enum=Required;Requested;NotRequested
type ClientCertificateDemand string

// The demands for a client certificate.
const (
	ClientCertificateRequired     ClientCertificateDemand = "Required"
	ClientCertificateRequested    ClientCertificateDemand = "Requested"
	ClientCertificateNotRequested ClientCertificateDemand = "NotRequested"
)

// CertificateIssuer says where a chain of certificates ends.
//
// +kubebuilder:validation:Enum=ClusterCA;Other
type CertificateIssuer string

// The issuers of certificates.
const (
	// IssuerClusterCA is the CA that the cluster publishes in the ConfigMap
	// kube-root-ca.crt of every namespace.
	IssuerClusterCA CertificateIssuer = "ClusterCA"
	IssuerOther     CertificateIssuer = "Other"
)

// Certificate is one certificate of a chain.
type Certificate struct {
	// subject of the certificate.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Subject string `json:"subject,omitempty"`

	// issuer of the certificate.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Issuer string `json:"issuer,omitempty"`

	// notBefore is when the certificate becomes valid.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`

	// notAfter is when the certificate expires.
	// +required
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
}
