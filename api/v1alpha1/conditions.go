// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Types of the conditions of a ControlPlaneNetworkPolicy. All conditions are always
// present, except for Reconciling and Stalled, which are present only while True, and
// never together (the contract on which kubectl, Argo CD and Flux rely).
const (
	// ConditionAccepted says whether the operator can act on the spec.
	//
	// Reasons when True: Accepted. Reasons when False: InvalidSelector,
	// NoMatchingNodes, ClaimedByOlderPolicy, NameTaken.
	ConditionAccepted = "Accepted"

	// ConditionVerified says whether the planned writes are safe. Nothing is written
	// unless the condition is True for the current generation.
	//
	// Reasons when True: Verified, Overridden. Reasons when False: NoMatchingNodes,
	// EmptyPeerSet, ProfileUnknown, NoAdminPath, LoadBalancerUnknown, AddressesUnknown,
	// RequiredFlowCut, DataplaneNotSupported, NotJudged, NodesNotSelected,
	// OperatorCutOff.
	ConditionVerified = "Verified"

	// ConditionProgrammed says whether everything declared has been written.
	//
	// Reasons when True: Programmed.
	// Reasons when False: Audit, Suspended, NotVerified, Pending, ApplyFailed,
	// HeldBack, Conflicted, Contested, HostBackendNone, NotApplicable,
	// CalicoNotInstalled, CalicoAPIServerMissing, CalicoUnavailable,
	// RollingOut, RolledBack, TakenBack.
	ConditionProgrammed = "Programmed"

	// ConditionEffective says whether the declared restrictions really hold.
	//
	// Reasons when True: Effective, NotDeclared.
	// Reasons when False: HostNetworkedPods, NotProgrammed, HostBackendNone,
	// NotApplicable, CalicoNotInstalled, CalicoAPIServerMissing,
	// CalicoUnavailable, FailsafePorts, ForeignHostEndpoint, ForeignPolicy,
	// AddressesMissing, IPv6Unfiltered, DetourOpen, ExposedByService,
	// AddressTakenOver, ProbeConnected, TakenBack, NetworkPolicyNotEnforced.
	// Reasons when Unknown: DataplaneNotSupported, NotJudged, ForeignPolicy,
	// NetworkPolicyUnknown.
	ConditionEffective = "Effective"

	// ConditionTaintsInSync says whether every selected node has the declared
	// taints.
	//
	// Reasons when True: InSync, NotDeclared.
	// Reasons when False: Drifted, Pending, HeldBack, Conflicted, Contested.
	ConditionTaintsInSync = "TaintsInSync"

	// ConditionTrafficPoliciesInSync says whether every selected Service has
	// the declared traffic policies.
	//
	// Reasons when True: InSync, NotDeclared.
	// Reasons when False: Drifted, Pending, HeldBack, EndpointsMissing,
	// Conflicted, Contested.
	ConditionTrafficPoliciesInSync = "TrafficPoliciesInSync"

	// ConditionDrifted says whether a managed object or field is no longer as declared,
	// or, in mode Audit, is not as declared.
	//
	// Reasons when True: Drifted, Conflicted, Contested. Reasons when False: NoDrift.
	ConditionDrifted = "Drifted"

	// ConditionReady is the summary of the other conditions: the cluster is as
	// declared.
	//
	// Reasons when True: AsDeclared. Reasons when False: Deleting, Suspended, and the
	// reasons of the condition that is not fulfilled. Reasons when Unknown: Observing,
	// and the reasons of Effective if Effective is Unknown and all other conditions are
	// fulfilled.
	ConditionReady = "Ready"

	// ConditionReconciling is True while the operator is writing.
	//
	// Reasons: Pending, RollingOut, Deleting.
	ConditionReconciling = "Reconciling"

	// ConditionStalled is True when only a change from outside helps.
	//
	// Reasons: those of Accepted and Verified, RolledBack, TakenBack.
	ConditionStalled = "Stalled"
)

// Types of the conditions of a ControlPlaneNodeEnactment: the phases of a node. Exactly
// one phase is True, and the others are False.
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
	// Reasons: ProbeFailed, ObserverLost, NodeNotReady, RequiredFlowCut, NotJudged,
	// NotWritten, NotConfirmed, TakenBack.
	PhaseReverted = "Reverted"

	// PhaseAborted: another node was reverted, so that this node was not started, or
	// was rolled back although nothing failed on the node.
	//
	// Reasons: OtherNodeReverted.
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
	ReasonObserverLost         = "ObserverLost"
	ReasonNotWritten           = "NotWritten"
	ReasonNotConfirmed         = "NotConfirmed"
	ReasonOtherNodeReverted    = "OtherNodeReverted"
	ReasonPhaseOver            = "PhaseOver"
)

// Reasons of the conditions.
const (
	ReasonAccepted               = "Accepted"
	ReasonVerified               = "Verified"
	ReasonProgrammed             = "Programmed"
	ReasonEffective              = "Effective"
	ReasonInSync                 = "InSync"
	ReasonNoDrift                = "NoDrift"
	ReasonAsDeclared             = "AsDeclared"
	ReasonNotDeclared            = "NotDeclared"
	ReasonInvalidSelector        = "InvalidSelector"
	ReasonNoMatchingNodes        = "NoMatchingNodes"
	ReasonClaimedByOlderPolicy   = "ClaimedByOlderPolicy"
	ReasonNameTaken              = "NameTaken"
	ReasonEmptyPeerSet           = "EmptyPeerSet"
	ReasonProfileUnknown         = "ProfileUnknown"
	ReasonAddressesUnknown       = "AddressesUnknown"
	ReasonNoAdminPath            = "NoAdminPath"
	ReasonLoadBalancerUnknown    = "LoadBalancerUnknown"
	ReasonRequiredFlowCut        = "RequiredFlowCut"
	ReasonDataplaneNotSupported  = "DataplaneNotSupported"
	ReasonNotJudged              = "NotJudged"
	ReasonOverridden             = "Overridden"
	ReasonHostBackendNone        = "HostBackendNone"
	ReasonNotApplicable          = "NotApplicable"
	ReasonCalicoNotInstalled     = "CalicoNotInstalled"
	ReasonCalicoAPIServerMissing = "CalicoAPIServerMissing"
	ReasonCalicoUnavailable      = "CalicoUnavailable"
	ReasonFailsafePorts          = "FailsafePorts"
	ReasonForeignHostEndpoint    = "ForeignHostEndpoint"
	ReasonForeignPolicy          = "ForeignPolicy"
	ReasonAddressesMissing       = "AddressesMissing"
	ReasonIPv6Unfiltered         = "IPv6Unfiltered"
	ReasonDetourOpen             = "DetourOpen"
	ReasonExposedByService       = "ExposedByService"
	ReasonAddressTakenOver       = "AddressTakenOver"
	ReasonProbeConnected         = "ProbeConnected"
	ReasonRollingOut             = "RollingOut"
	ReasonRolledBack             = "RolledBack"
	ReasonTakenBack              = "TakenBack"
	ReasonAudit                  = "Audit"
	ReasonSuspended              = "Suspended"
	ReasonNotVerified            = "NotVerified"
	ReasonPending                = "Pending"
	ReasonApplyFailed            = "ApplyFailed"
	ReasonHostNetworkedPods      = "HostNetworkedPods"
	ReasonNodesNotSelected       = "NodesNotSelected"
	ReasonOperatorCutOff         = "OperatorCutOff"
	ReasonPoliciesNotEnforced    = "NetworkPolicyNotEnforced"
	ReasonPoliciesUnknown        = "NetworkPolicyUnknown"
	ReasonNotProgrammed          = "NotProgrammed"
	ReasonDrifted                = "Drifted"
	ReasonHeldBack               = "HeldBack"
	ReasonEndpointsMissing       = "EndpointsMissing"
	ReasonConflicted             = "Conflicted"
	ReasonContested              = "Contested"
	ReasonDeleting               = "Deleting"
	ReasonObserving              = "Observing"
)
