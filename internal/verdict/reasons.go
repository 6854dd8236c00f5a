// SPDX-License-Identifier: Apache-2.0

package verdict

import "github.com/cpnp-dev/cpnp-operator/api/v1alpha1"

// ofReason has the outcome for every reason of a bad condition. A reason is InProgress if
// the operator or the cluster ends the cause without help, and Stalled if a person must
// act.
var ofReason = map[string]Outcome{
	// The spec, or the writes for the spec.
	v1alpha1.ReasonInvalidSelector:          Stalled,
	v1alpha1.ReasonNoMatchingNodes:          Stalled,
	v1alpha1.ReasonConflicted:               Stalled,
	v1alpha1.ReasonAddressesUnknown:         Stalled,
	v1alpha1.ReasonProfileUnknown:           Stalled,
	v1alpha1.ReasonPeerMissing:              Stalled,
	v1alpha1.ReasonLoadBalancerUnknown:      Stalled,
	v1alpha1.ReasonRequiredFlowCut:          Stalled,
	v1alpha1.ReasonNotJudged:                Stalled,
	v1alpha1.ReasonOperatorCutOff:           Stalled,
	v1alpha1.ReasonNetworkPolicyNotEnforced: Stalled,
	// Writing. A refused write is repeated.
	v1alpha1.ReasonPending:       InProgress,
	v1alpha1.ReasonDrifted:       InProgress,
	v1alpha1.ReasonApplyFailed:   InProgress,
	v1alpha1.ReasonRollingOut:    InProgress,
	v1alpha1.ReasonNotVerified:   InProgress, // Verified has the cause
	v1alpha1.ReasonNotProgrammed: InProgress, // Programmed has the cause
	v1alpha1.ReasonObserving:     InProgress,
	v1alpha1.ReasonDeleting:      InProgress,
	v1alpha1.ReasonRolloutFailed: Stalled,
	v1alpha1.ReasonRolledBack:    Stalled,
	v1alpha1.ReasonHeld:          Stalled,
	v1alpha1.ReasonContested:     Stalled,
	// The written objects, and their effect.
	v1alpha1.ReasonEndpointsMissing:    Stalled,
	v1alpha1.ReasonFailsafePorts:       Stalled,
	v1alpha1.ReasonBypassPossible:      Stalled,
	v1alpha1.ReasonForeignHostEndpoint: Stalled,
	v1alpha1.ReasonForeignPolicy:       Stalled,
	v1alpha1.ReasonForeignService:      Stalled,
	v1alpha1.ReasonProbeConnected:      Stalled,
	// The backend.
	v1alpha1.ReasonHostBackendNone:    Stalled,
	v1alpha1.ReasonNotApplicable:      Stalled,
	v1alpha1.ReasonCalicoNotInstalled: Stalled,
	v1alpha1.ReasonCalicoTooLarge:     Stalled,
	v1alpha1.ReasonCalicoUnavailable:  InProgress,
	// The phases of a node. A reverted node is Stalled for every reason.
	v1alpha1.ReasonQueued:               InProgress,
	v1alpha1.ReasonNodeNotReady:         InProgress,
	v1alpha1.ReasonProbing:              InProgress,
	v1alpha1.ReasonWriting:              InProgress,
	v1alpha1.ReasonSoaking:              InProgress,
	v1alpha1.ReasonAwaitingConfirmation: InProgress, // for a limited time
	v1alpha1.ReasonNoQuorumToSpare:      Stalled,
	v1alpha1.ReasonProbeFailed:          Stalled,
	v1alpha1.ReasonNotConfirmed:         Stalled,
}

// OutcomeOf returns the outcome for the reason of a bad condition. An unknown reason is
// InProgress: the operator keeps trying.
func OutcomeOf(reason string) Outcome {
	if outcome, known := ofReason[reason]; known {
		return outcome
	}
	return InProgress
}
