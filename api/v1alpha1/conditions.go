// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Types of the conditions of a ControlPlaneNetworkPolicy. All conditions are always
// present, except for Reconciling and Stalled, which are present only while True, and
// never together (the contract on which kubectl, Argo CD and Flux rely); and except for
// TLSCompliant and BackupFresh, which are present only where spec.posture declares them.
const (
	// ConditionAccepted says whether the operator can act on the spec.
	//
	// Reasons when True: Accepted. Reasons when False: InvalidSelector,
	// NoMatchingNodes, Conflicted.
	ConditionAccepted = "Accepted"

	// ConditionVerified says whether the planned writes are safe. Nothing is written
	// unless the condition is True for the current generation; with the reasons
	// ProfileUnknown, CalicoUnavailable and CalicoTooLarge, nothing is written for hosts.
	//
	// Reasons when True: Verified, Overridden. Reasons when False: NoMatchingNodes,
	// AddressesUnknown, ProfileUnknown, PeerMissing, LoadBalancerUnknown,
	// RequiredFlowCut, NotJudged, NetworkPolicyNotEnforced, OperatorCutOff.
	// Reasons when Unknown: CalicoUnavailable, CalicoTooLarge.
	ConditionVerified = "Verified"

	// ConditionProgrammed says whether everything declared has been written.
	//
	// Reasons when True: AsDeclared.
	// Reasons when False: Audit, Suspended, NotVerified, Pending, ApplyFailed,
	// Held, Conflicted, Contested, HostBackendNone, NotApplicable,
	// CalicoNotInstalled, CalicoUnavailable, CalicoTooLarge, RollingOut,
	// RolloutFailed, RolledBack.
	ConditionProgrammed = "Programmed"

	// ConditionEffective says whether the declared restrictions really hold.
	//
	// Reasons when True: AsDeclared, NotDeclared.
	// Reasons when False: BypassPossible, NotProgrammed, HostBackendNone,
	// NotApplicable, CalicoNotInstalled, CalicoUnavailable, CalicoTooLarge,
	// FailsafePorts, ForeignHostEndpoint, ForeignPolicy, ForeignService,
	// AddressesUnknown, ProbeConnected, RolledBack, NetworkPolicyNotEnforced.
	// Reasons when Unknown: NotJudged, ForeignPolicy.
	ConditionEffective = "Effective"

	// ConditionTaintsInSync says whether every selected node has the declared
	// taints.
	//
	// Reasons when True: AsDeclared, NotDeclared.
	// Reasons when False: Drifted, Pending, Held, Conflicted, Contested.
	ConditionTaintsInSync = "TaintsInSync"

	// ConditionTrafficPoliciesInSync says whether every selected Service has
	// the declared traffic policies.
	//
	// Reasons when True: AsDeclared, NotDeclared.
	// Reasons when False: Drifted, Pending, Held, EndpointsMissing, Conflicted,
	// Contested.
	ConditionTrafficPoliciesInSync = "TrafficPoliciesInSync"

	// ConditionDrifted says whether a managed object or field is no longer as declared,
	// or, in mode Audit, is not as declared.
	//
	// Reasons when True: Drifted, Conflicted, Contested. Reasons when False: NoDrift.
	ConditionDrifted = "Drifted"

	// ConditionTLSCompliant says whether the components of the control plane offer TLS as
	// spec.posture.tls declares. The operator cannot repair TLS: the condition changes
	// neither Ready nor what is written.
	//
	// Reasons when True: Compliant. Reasons when False: NotCompliant.
	// Reasons when Unknown: NotProbed, ProfileUnknown, NotApplicable.
	ConditionTLSCompliant = "TLSCompliant"

	// ConditionBackupFresh says whether the newest backup of etcd is as young as
	// spec.posture.etcdBackup declares. The condition changes neither Ready nor what is
	// written.
	//
	// Reasons when True: Fresh. Reasons when False: Stale.
	// Reasons when Unknown: NoBackup, Observing.
	ConditionBackupFresh = "BackupFresh"

	// ConditionReady is the summary of the other conditions: everything is as asked. In
	// mode Enforce the cluster is as declared; in mode Audit the audit is complete, and
	// Drifted tells what the audit found; with spec.suspend nothing is written.
	//
	// Reasons when True: AsDeclared, Audited, Suspended. Reasons when False: Deleting,
	// RolledBack, the reasons of the condition that is not fulfilled, and if every node that
	// is left waits for a person, the reason of the first of these nodes. Reasons when
	// Unknown: Observing, and the reasons of Verified and Effective if one of them is
	// Unknown and no condition is False.
	ConditionReady = "Ready"

	// ConditionReconciling is True while the policy is not Ready and the operator goes on
	// by itself: it writes, restores, or waits for the cluster.
	//
	// Reasons: Pending, RollingOut, ApplyFailed, CalicoUnavailable, NotVerified,
	// NotProgrammed, Observing, RolledBack, Deleting.
	ConditionReconciling = "Reconciling"

	// ConditionStalled is True while the policy is not Ready and only a change by a person
	// helps.
	//
	// Reasons: those of Accepted and Verified, and of Ready, except the reasons of
	// Reconciling; RolledBack once everything is rolled back.
	ConditionStalled = "Stalled"
)

// Types of the conditions of a ControlPlaneNodeEnactment: the phases of a node. Exactly
// one phase is True, and the others are False. Ready, Reconciling and Stalled are present
// as in a ControlPlaneNetworkPolicy, with the reason of the phase: Ready is True in the
// phase Enforced.
const (
	// PhasePending: the node is as it was before the rollout.
	//
	// Reasons: Queued, NotVerified, NodeNotReady, NoQuorumToSpare, Probing,
	// ForeignHostEndpoint, RequiredFlowCut.
	PhasePending = "Pending"

	// PhaseProgressing: the node has the new ruleset, and the ruleset is being tried:
	// first with open failsafe ports. After the soak, and after the confirmation if the
	// policy asks for one, the ruleset is tried with scoped failsafe ports.
	//
	// Reasons: Writing, Probing, Soaking, AwaitingConfirmation.
	PhaseProgressing = "Progressing"

	// PhaseEnforced: the node has the new ruleset, and keeps the ruleset.
	//
	// Reasons: Proven, Unproven.
	PhaseEnforced = "Enforced"

	// PhaseReverted: the node was rolled back, and is not tried again for this
	// generation of the policy.
	//
	// Reasons: ProbeFailed, NodeNotReady, RequiredFlowCut, NotJudged, ApplyFailed,
	// NotConfirmed, RolledBack.
	PhaseReverted = "Reverted"

	// PhaseAborted: another node was reverted, so that this node was not started, or
	// was rolled back although nothing failed on the node.
	//
	// Reasons: RolloutFailed.
	PhaseAborted = "Aborted"
)

// Reasons of the conditions of a ControlPlaneNodeEnactment, beside reasons that
// conditions of the policy have too.
const (
	ReasonQueued               = "Queued"
	ReasonNodeNotReady         = "NodeNotReady"
	ReasonNoQuorumToSpare      = "NoQuorumToSpare"
	ReasonProbing              = "Probing"
	ReasonWriting              = "Writing"
	ReasonSoaking              = "Soaking"
	ReasonAwaitingConfirmation = "AwaitingConfirmation"
	ReasonProven               = "Proven"
	ReasonUnproven             = "Unproven"
	ReasonProbeFailed          = "ProbeFailed"
	ReasonNotConfirmed         = "NotConfirmed"
	ReasonPhaseOver            = "PhaseOver"
)

// Reasons of the conditions. docs/status.md explains each reason.
const (
	ReasonAccepted                 = "Accepted"
	ReasonVerified                 = "Verified"
	ReasonAsDeclared               = "AsDeclared"
	ReasonNoDrift                  = "NoDrift"
	ReasonNotDeclared              = "NotDeclared"
	ReasonInvalidSelector          = "InvalidSelector"
	ReasonNoMatchingNodes          = "NoMatchingNodes"
	ReasonConflicted               = "Conflicted"
	ReasonAddressesUnknown         = "AddressesUnknown"
	ReasonProfileUnknown           = "ProfileUnknown"
	ReasonPeerMissing              = "PeerMissing"
	ReasonLoadBalancerUnknown      = "LoadBalancerUnknown"
	ReasonRequiredFlowCut          = "RequiredFlowCut"
	ReasonNotJudged                = "NotJudged"
	ReasonOverridden               = "Overridden"
	ReasonOperatorCutOff           = "OperatorCutOff"
	ReasonNetworkPolicyNotEnforced = "NetworkPolicyNotEnforced"
	ReasonHostBackendNone          = "HostBackendNone"
	ReasonNotApplicable            = "NotApplicable"
	ReasonCalicoNotInstalled       = "CalicoNotInstalled"
	ReasonCalicoTooLarge           = "CalicoTooLarge"
	ReasonCalicoUnavailable        = "CalicoUnavailable"
	ReasonFailsafePorts            = "FailsafePorts"
	ReasonBypassPossible           = "BypassPossible"
	ReasonForeignHostEndpoint      = "ForeignHostEndpoint"
	ReasonForeignPolicy            = "ForeignPolicy"
	ReasonForeignService           = "ForeignService"
	ReasonProbeConnected           = "ProbeConnected"
	ReasonRollingOut               = "RollingOut"
	ReasonRolloutFailed            = "RolloutFailed"
	ReasonRolledBack               = "RolledBack"
	ReasonAudit                    = "Audit"
	ReasonAudited                  = "Audited"
	ReasonSuspended                = "Suspended"
	ReasonNotVerified              = "NotVerified"
	ReasonNotProgrammed            = "NotProgrammed"
	ReasonPending                  = "Pending"
	ReasonApplyFailed              = "ApplyFailed"
	ReasonDrifted                  = "Drifted"
	ReasonHeld                     = "Held"
	ReasonEndpointsMissing         = "EndpointsMissing"
	ReasonContested                = "Contested"
	ReasonDeleting                 = "Deleting"
	ReasonObserving                = "Observing"
	ReasonCompliant                = "Compliant"
	ReasonNotCompliant             = "NotCompliant"
	ReasonNotProbed                = "NotProbed"
	ReasonFresh                    = "Fresh"
	ReasonStale                    = "Stale"
	ReasonNoBackup                 = "NoBackup"
)
