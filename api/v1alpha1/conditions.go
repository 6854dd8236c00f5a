// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Types of the conditions of a ControlPlaneNetworkPolicy. Every condition is
// there at all times, but for Reconciling and Stalled, which are there only
// while True, and never together (the contract that kubectl, Argo CD and Flux
// read).
const (
	// ConditionAccepted says whether the spec can be acted on.
	//
	// Reasons when True: Accepted.
	// Reasons when False: InvalidSelector, NoMatchingNodes,
	// ClaimedByOlderPolicy, NameTaken.
	ConditionAccepted = "Accepted"

	// ConditionVerified says whether what would be written is safe. Nothing is
	// written unless it is True for the generation in question.
	//
	// Reasons when True: Verified, Overridden.
	// Reasons when False: NoMatchingNodes, EmptyPeerSet, ProfileUnknown,
	// NoAdminPath, LoadBalancerUnknown, AddressesUnknown, RequiredFlowCut,
	// DataplaneNotSupported, NotJudged, NodesNotSelected, OperatorCutOff.
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

	// ConditionDrifted says whether something that had been put right was
	// changed, or, in mode Audit, is not as declared.
	//
	// Reasons when True: Drifted, Conflicted, Contested.
	// Reasons when False: NoDrift.
	ConditionDrifted = "Drifted"

	// ConditionReady sums up the others: the cluster is as declared.
	//
	// Reasons when True: AsDeclared.
	// Reasons when False: Deleting, Suspended, and the reasons of the
	// condition that stands in the way.
	// Reasons when Unknown: Observing, and the reasons of Effective where that
	// is Unknown and all others are as they should be.
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

// Types of the conditions of a ControlPlaneNodeEnactment: the phases of a node,
// of which it is always in one. That one is True, the others are False.
const (
	// PhasePending: the node is as it was before.
	//
	// Reasons: Queued, NotVerified, NodeNotReady, NoQuorumToSpare, Probing,
	// ForeignHostEndpoint, RequiredFlowCut.
	PhasePending = "Pending"

	// PhaseProgressing: the node has the new rules, and is being tried: first with
	// its failsafe ports wide, and once it has soaked, and somebody has confirmed if
	// the policy waits for that, with narrow ones.
	//
	// Reasons: Writing, Probing, Soaking, AwaitingConfirmation.
	PhaseProgressing = "Progressing"

	// PhaseEnforced: the node has the new rules, and keeps them.
	//
	// Reasons: Proven, Unproven.
	PhaseEnforced = "Enforced"

	// PhaseReverted: the node was taken back, and is not tried again for this
	// generation of the policy.
	//
	// Reasons: ProbeFailed, ObserverLost, NodeNotReady, RequiredFlowCut,
	// NotJudged, NotWritten, NotConfirmed, TakenBack.
	PhaseReverted = "Reverted"

	// PhaseAborted: the node was not begun, or taken back though nothing failed on
	// it, because another one was reverted.
	//
	// Reasons: OtherNodeReverted.
	PhaseAborted = "Aborted"
)

// Reasons of the conditions of a ControlPlaneNodeEnactment, beside those that it
// shares with the policy's.
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
