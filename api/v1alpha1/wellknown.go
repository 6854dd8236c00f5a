// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Names that the operator writes on other objects, and names that the operator reads on
// a policy. The names are part of the API: users select by these names, and later
// versions must keep understanding the names.
const (
	// Finalizer holds a policy until its changes are reverted or orphaned. The
	// finalizer is set before the first write, and so never on a policy that only
	// audits.
	Finalizer = "cpnp.dev/finalizer"

	// LabelPolicy and LabelComponent are on every object that the operator creates: the
	// names of the policy and of the component.
	LabelPolicy    = "cpnp.dev/policy"
	LabelComponent = "cpnp.dev/component"

	// AnnotationDesiredHash is the hash of the content that was last written to an
	// object. If the hash is that of the desired content, and the actual content
	// differs, another manager changed the object: drift. If the hashes differ, the
	// intent has changed: no drift.
	AnnotationDesiredHash = "cpnp.dev/desired-hash"

	// AnnotationRendererVersion is the version of the rendering that wrote an object.
	// If the content differs because another version rendered the object, the
	// difference is an upgrade, and not drift.
	AnnotationRendererVersion = "cpnp.dev/renderer-version"

	// AnnotationRevert on a policy rolls back at once, on all nodes, everything that
	// the policy wrote. Nothing is written again while the annotation is there. The
	// value is the reason.
	AnnotationRevert = "cpnp.dev/revert"

	// AnnotationConfirm on a ControlPlaneNodeEnactment confirms that the node keeps its
	// ruleset. The value is the generation of the policy for which the confirmation is
	// given.
	AnnotationConfirm = "cpnp.dev/confirm"

	// AnnotationRecord is on every Service that the operator changed: the applied
	// values by policy, and the original values. With the record, the operator can tell
	// drift from new intent, and can restore the original values on deletion. The
	// changes to a Node are recorded in its ControlPlaneNodeRecord; earlier versions
	// used this annotation on the Node, which kubelets can write.
	AnnotationRecord = "cpnp.dev/record"

	// AnnotationAllowLockout on a policy permits writes even though required flows of
	// the control plane would be cut. The value is the reason, in words; a blank value
	// permits nothing.
	AnnotationAllowLockout = "cpnp.dev/allow-lockout"

	// AnnotationEtcdBackupTime on a policy is the time of the newest backup of etcd, in the
	// form of RFC 3339. The annotation counts if the policy declares it as the source of
	// backups.
	AnnotationEtcdBackupTime = "cpnp.dev/etcd-backup-time"
)

// Field managers, one for each concern, in the managedFields of objects that the
// operator writes.
const (
	FieldManagerNetwork  = "cpnp.dev/network"
	FieldManagerTaints   = "cpnp.dev/taints"
	FieldManagerServices = "cpnp.dev/services"
	FieldManagerStatus   = "cpnp.dev/status"
	FieldManagerRollout  = "cpnp.dev/rollout"
	FieldManagerPosture  = "cpnp.dev/posture"
	FieldManagerReports  = "cpnp.dev/reports"
	// FieldManagerProbe is followed by a dot and the name of the observer.
	FieldManagerProbe = "cpnp.dev/probe"
)
