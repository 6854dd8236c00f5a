// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PostureSpec declares what the operator reports about the control plane besides network
// policies, taints and Services. The operator repairs nothing of it, in no mode.
//
// +kubebuilder:validation:XValidation:rule="has(self.tls) || has(self.etcdBackup)",message="must declare at least one of tls and etcdBackup"
type PostureSpec struct {
	// tls has the operator try TLS handshakes with the components of the control plane.
	// The condition TLSCompliant and status.posture.findings tell the
	// result. An empty object
	// stands for the defaults.
	// +optional
	TLS *TLSPosture `json:"tls,omitempty"`

	// etcdBackup says where the newest backup of etcd can be seen, and how old it may
	// be. The condition BackupFresh tells the result.
	// +optional
	EtcdBackup EtcdBackupPosture `json:"etcdBackup,omitzero"`
}

// TLSPosture says what the components of the control plane must offer.
type TLSPosture struct {
	// minVersion is the lowest version of TLS that a component may accept.
	// +kubebuilder:default=VersionTLS12
	// +optional
	MinVersion TLSVersion `json:"minVersion,omitempty"`

	// expiryWarningDays is how many days before its end a certificate counts as
	// expiring.
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3650
	// +optional
	ExpiryWarningDays *int32 `json:"expiryWarningDays,omitempty"`

	// intervalSeconds is how often every observer probes every port. Each observer waits
	// up to a tenth longer, so that they do not probe all at once.
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=900
	// +optional
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`

	// components are the components to probe, if not all. Leave etcd and etcd-peer out if
	// etcd does not run on the selected nodes.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	// +optional
	Components []PostureComponent `json:"components,omitempty"`

	// additionalPorts are further ports of components, such as the read-only port of a
	// kubelet. They are probed at the addresses of the nodes. Unlike at the other ports,
	// it is as it should be if nobody answers there.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=port
	// +optional
	AdditionalPorts []AdditionalPort `json:"additionalPorts,omitempty"`
}

// AdditionalPort is a further port of a component.
type AdditionalPort struct {
	// port of the component.
	// +required
	Port PortNumber `json:"port,omitempty"`

	// component to which the port belongs.
	// +required
	Component PostureComponent `json:"component,omitempty"`
}

// PostureComponent is a component of the control plane that serves TLS.
//
// +kubebuilder:validation:Enum=kube-apiserver;etcd;etcd-peer;kubelet;kube-scheduler;kube-controller-manager
type PostureComponent string

// The components whose TLS is probed. The peers of etcd are a component of their own: they
// have a port and certificates of their own.
const (
	PostureAPIServer         PostureComponent = "kube-apiserver"
	PostureEtcd              PostureComponent = "etcd"
	PostureEtcdPeer          PostureComponent = "etcd-peer"
	PostureKubelet           PostureComponent = "kubelet"
	PostureScheduler         PostureComponent = "kube-scheduler"
	PostureControllerManager PostureComponent = "kube-controller-manager"
)

// TLSVersion is a version of TLS, with the names that Kubernetes' own components use
// (--tls-min-version).
//
// +kubebuilder:validation:Enum=VersionTLS12;VersionTLS13
type TLSVersion string

// The lowest versions that a policy can ask for.
const (
	VersionTLS12 TLSVersion = "VersionTLS12"
	VersionTLS13 TLSVersion = "VersionTLS13"
)

// EtcdBackupPosture says where the newest backup of etcd can be seen.
type EtcdBackupPosture struct {
	// maxAgeSeconds is how old the newest backup may be.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	// +required
	MaxAgeSeconds int32 `json:"maxAgeSeconds,omitempty"`

	// source tells of the backups.
	// +required
	Source BackupSource `json:"source,omitzero"`
}

// BackupSource is where backups of etcd can be seen. Velero is no source: it copies
// objects of the API, and not etcd.
//
// +kubebuilder:validation:ExactlyOneOf=jobs;lease;annotation;etcdDruid;snapshotFiles
type BackupSource struct {
	// jobs are the CronJobs and Jobs that take backups. The newest success counts.
	// +optional
	Jobs JobBackups `json:"jobs,omitzero"`

	// lease is stamped after every backup: spec.renewTime counts. The command
	// cpnp-operator etcd-snapshot stamps a Lease, and every script can.
	// +optional
	Lease NamespacedName `json:"lease,omitzero"`

	// annotation stands for the annotation cpnp.dev/etcd-backup-time of this policy. Its
	// value is the time of the newest backup, such as 2026-01-02T03:04:05Z.
	// +optional
	Annotation *AnnotationBackup `json:"annotation,omitempty"`

	// etcdDruid is the Etcd of etcd-druid (druid.gardener.cloud) that is backed up. The Leases
	// of its snapshots count, unless its condition BackupReady is False or the Etcd has no
	// spec.backup.store.
	// +optional
	EtcdDruid NamespacedName `json:"etcdDruid,omitzero"`

	// snapshotFiles stands for the ETCDSnapshotFiles (k3s.cattle.io) of RKE2 and k3s.
	// +optional
	SnapshotFiles *SnapshotFileBackups `json:"snapshotFiles,omitempty"`
}

// JobBackups selects CronJobs and Jobs.
type JobBackups struct {
	// namespace of the CronJobs and Jobs.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Namespace string `json:"namespace,omitempty"`

	// selector selects CronJobs and Jobs by their labels. The selector may not be empty.
	// +kubebuilder:validation:XValidation:rule="(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",message="selector may not be empty, because other jobs of the namespace would count as backups"
	// +required
	Selector LabelSelector `json:"selector,omitzero"`
}

// NamespacedName names an object of a namespace.
type NamespacedName struct {
	// namespace of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Namespace string `json:"namespace,omitempty"`

	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`
}

// AnnotationBackup has no fields.
type AnnotationBackup struct{}

// SnapshotFileBackups selects ETCDSnapshotFiles.
type SnapshotFileBackups struct {
	// location says which snapshots count. Any (the default): every snapshot. S3: only
	// snapshots outside of the nodes, which outlive them.
	// +kubebuilder:default=Any
	// +optional
	Location SnapshotLocation `json:"location,omitempty"`
}

// SnapshotLocation is where a snapshot is stored.
//
// +kubebuilder:validation:Enum=Any;S3
type SnapshotLocation string

// The locations of snapshots.
const (
	SnapshotAny SnapshotLocation = "Any"
	SnapshotS3  SnapshotLocation = "S3"
)

// MaxReportedFindings is how many findings the status lists. The counts beside the list
// include all findings.
const MaxReportedFindings = 16

// PostureStatus is what is known of the posture beside the conditions.
type PostureStatus struct {
	// ports is how many ports of components are to be probed.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Ports *int32 `json:"ports,omitempty"`

	// probedPorts is how many of the ports an observer could judge lately.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ProbedPorts *int32 `json:"probedPorts,omitempty"`

	// earliestExpiry is when the first of the certificates expires.
	// +optional
	EarliestExpiry *metav1.Time `json:"earliestExpiry,omitempty"`

	// findingCount is how many findings there are.
	// +kubebuilder:validation:Minimum=0
	// +optional
	FindingCount *int32 `json:"findingCount,omitempty"`

	// findings lists the first 16 findings, the most severe first.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Findings []Finding `json:"findings,omitempty"`

	// lastBackupTime is the time of the newest backup of etcd.
	// +optional
	LastBackupTime *metav1.Time `json:"lastBackupTime,omitempty"`
}

// Severity says how bad a finding is. A finding of severity medium or higher makes its
// condition False; low and info are told, and change no condition.
//
// +kubebuilder:validation:Enum=critical;high;medium;low;info
type Severity string

// The severities, with the names that policy reports use.
const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityMedium   Severity = "medium"
	SeverityLow      Severity = "low"
	SeverityInfo     Severity = "info"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	// check is the key of the check that found it, such as tls-version. docs/posture.md
	// lists all checks.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Check string `json:"check,omitempty"`

	// severity says how bad the finding is.
	// +required
	Severity Severity `json:"severity,omitempty"`

	// node on which the finding was made, if any.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Node string `json:"node,omitempty"`

	// component that the finding is about, if any.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Component string `json:"component,omitempty"`

	// message says what was found, and what to do.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +required
	Message string `json:"message,omitempty"`

	// controls are the controls of public benchmarks that ask for the opposite, such as
	// "CIS Kubernetes 1.2.24".
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=atomic
	// +optional
	Controls []string `json:"controls,omitempty"`
}
