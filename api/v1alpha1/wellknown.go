// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Names that the operator leaves on other objects, and those that it reads on a
// policy. They are part of the API: users select by them, and later versions
// must keep understanding them.
const (
	// Finalizer holds a policy until what it wrote is reverted or orphaned.
	// It is set before the first write, so never in a policy that only audits.
	Finalizer = "cpnp.dev/finalizer"

	// LabelPolicy and LabelComponent are on every object that the operator
	// creates: the names of the policy and of the component it is for.
	LabelPolicy    = "cpnp.dev/policy"
	LabelComponent = "cpnp.dev/component"

	// AnnotationDesiredHash is the hash of what an object was last written
	// as. When it equals the hash of what is desired now and the content
	// differs, somebody else changed the object: drift. When it differs, the
	// intent changed: not drift.
	AnnotationDesiredHash = "cpnp.dev/desired-hash"

	// AnnotationRendererVersion is the version of the rendering that wrote an
	// object. Content that differs because it was rendered by another version
	// is an upgrade, not drift.
	AnnotationRendererVersion = "cpnp.dev/renderer-version"

	// AnnotationRevert on a policy takes back at once, on all nodes, everything
	// that the policy wrote, and keeps it so. Its value is the reason why.
	AnnotationRevert = "cpnp.dev/revert"

	// AnnotationConfirm on a ControlPlaneNodeEnactment is somebody's word that
	// the node is to stay as it is. Its value is the generation of the policy
	// that this is said of.
	AnnotationConfirm = "cpnp.dev/confirm"

	// AnnotationRecord is on every Service that the operator changed: what was
	// applied for which policy, and what was there before. It makes drift
	// tellable from new intent, and deletion reversible. What was done to a Node
	// is in its ControlPlaneNodeRecord; earlier versions kept it in this
	// annotation of the Node, which kubelets can write.
	AnnotationRecord = "cpnp.dev/record"

	// AnnotationAllowLockout is set on a policy by whoever wants it written
	// though flows that the control plane requires would be cut. Its value is
	// the reason why, in words; a blank one allows nothing.
	AnnotationAllowLockout = "cpnp.dev/allow-lockout"
)

// Field managers, one for each concern, in the managedFields of what the
// operator writes.
const (
	FieldManagerNetwork  = "cpnp.dev/network"
	FieldManagerTaints   = "cpnp.dev/taints"
	FieldManagerServices = "cpnp.dev/services"
	FieldManagerStatus   = "cpnp.dev/status"
	FieldManagerRollout  = "cpnp.dev/rollout"
	// FieldManagerProbe is followed by a dot and the name of the observer.
	FieldManagerProbe = "cpnp.dev/probe"
)
