// SPDX-License-Identifier: Apache-2.0

// Package rollout decides how the protection of hosts is brought to the
// control-plane nodes: which node is begun, which one stays as it is, and which
// one is taken back. It is pure. All that it remembers is in the
// ControlPlaneNodeEnactments, so that an operator that restarts, or another one
// that takes over, goes on or takes back, and skips nothing.
//
// The order of the caller's writes is part of that: first the enactments, of each
// its metadata and spec before its status; then the cluster, by what Wanted says
// of the enactments as they were persisted.
package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Expectation says what is to become of an attempt to connect to a protected
// node, by what is declared and required.
type Expectation int

// The expectations.
const (
	// Any outcome is right: nothing is declared of it, or not for this observer.
	AnyOutcome Expectation = iota
	// MustConnect is a flow that is allowed.
	MustConnect
	// MustNotConnect is a flow that is declared closed. It is not expected to be
	// before the failsafe ports of the node are narrowed.
	MustNotConnect
)

// Node is a control-plane node that the policy selects.
type Node struct {
	// Name of the Node.
	Name string
	// Ready as its condition says.
	Ready bool
	// Created is when the Node object was. A node that joined after another one
	// was begun says nothing about that one.
	Created time.Time
	// Foreign is the name of an endpoint of others in the place of ours, empty if
	// there is none. The node is not begun then.
	ForeignEndpoint string
	// Live is the version that its live endpoint carries and enforces, empty if
	// none.
	LiveVersion string
	// Narrows says that its failsafe ports are to be narrow, once it has soaked with
	// them wide.
	WantsScopedFailsafes bool
	// Narrow says that they are, as the version has it that is Live.
	FailsafesScoped bool
	// Contested says that they are not, because somebody else has decided about them.
	FailsafesContested bool
	// Programmed says that what Wanted says of Enactment has been written, and had
	// the time to reach the node; in every phase, so that a node that is taken
	// back is Programmed once it has been. Nothing is to be written for a node
	// that was never begun.
	Programmed bool
	// Enactment as persisted, nil if there is none. It is never modified.
	Enactment *v1alpha1.ControlPlaneNodeEnactment
	// Targets are what the observers are to try, the first 64 of them.
	Targets []v1alpha1.ProbeTarget
	// Expect says what is to become of an attempt of an observer. Where it is nil,
	// nothing is expected.
	Expect func(observer v1alpha1.Observation, address string, port v1alpha1.PortNumber) Expectation
}

// Input is what a decision is made by.
type Input struct {
	// Now is the time. What is kept of it are whole seconds.
	Now time.Time
	// Policy, UID and Generation are of the policy.
	Policy     string
	UID        types.UID
	Generation int64
	// Version is the hash of the rules that are called for; empty while that can
	// not be told. Then no node is begun, and none is left under way.
	Version string
	// Rollout as declared; nil, and zero fields, stand for the API's defaults.
	Rollout *v1alpha1.Rollout
	// Nodes are all selected control-plane nodes, sorted by name.
	Nodes []Node
	// InFlight is how many nodes other policies have under way, or have to take back.
	OthersInFlight int
	// Unverified is why nothing may be begun now, empty if what is declared was
	// verified for this generation.
	NotVerified string
	// Cut is a required flow that is cut now, empty if none is.
	CutFlow string
	// Unjudged is why it cannot be judged what the rules do, empty if it can.
	NotJudged string
	// Failed is a node that is gone, and was reverted for this generation; empty if
	// there is none.
	FailedNode string
	// Others are control-plane nodes that the policy does not protect. Of them
	// matter their name, whether they are ready, and since when they are there.
	OtherNodes []Node
	// Members is how many nodes the cluster's control plane has; 0 if that is not
	// known, and it is taken for Nodes.
	ControlPlaneSize int
	// TakeBack is the reason to take everything back, and keep it so; empty if
	// there is none.
	RollBackReason string
}

// Decision is what is to be.
type Decision struct {
	// Enactments are as they should be, one for every node, in the order of the
	// nodes. Their observers are as they were: these belong to the probes. An
	// annotation that is gone has to be removed: it confirms something else.
	Enactments []v1alpha1.ControlPlaneNodeEnactment
	// Wake is after what time to decide again at the latest; 0 if only an event
	// can change anything.
	WakeAfter time.Duration
	// Connected are connections to Enforced nodes that were made though they are
	// declared closed.
	ForbiddenConnections []string
}

// Decide says how every node goes on. Deciding again on what was decided changes
// nothing before something happens.
func Decide(in Input) Decision {
	r := newRun(in)
	var d Decision
	switch {
	case in.RollBackReason != "":
		r.rollBackAll()
	case in.Version == "":
		r.holdNodes()
	default:
		r.updateEnactments()
		r.revertFailedNodes()
		r.continueRollout()
		d.ForbiddenConnections = r.patrolEnforced()
	}
	if !r.nextWake.IsZero() {
		d.WakeAfter = r.nextWake.Sub(in.Now)
	}
	for _, n := range r.nodeRuns {
		d.Enactments = append(d.Enactments, *n.desired)
	}
	return d
}

// Wanted says what a node is to have by its enactment as persisted: the version
// of the rules, empty if it is not to be restricted at all; and whether its
// failsafe ports are to be narrow, which they only are once it has soaked with
// them wide, and while it waits with rules for which they were narrow.
//
// Without a phase, the creation of the enactment was interrupted: the node is to
// be left alone until there is one.
func RulesetFor(e *v1alpha1.ControlPlaneNodeEnactment) (version string, narrow bool) {
	if e == nil {
		return "", false
	}
	switch PhaseOf(e) {
	case v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
		return e.Status.Version, e.Status.NarrowTime != nil
	}
	return e.Status.PreviousVersion, e.Status.PreviousVersion != "" && e.Status.PreviousNarrowTime != nil
}

// phases are all of them. If somebody made several True, the first one counts:
// it is the one that restricts least.
var phasePrecedence = []string{
	v1alpha1.PhaseReverted, v1alpha1.PhaseAborted, v1alpha1.PhasePending, v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced,
}

// PhaseOf returns the phase of a node, empty if it has none yet.
func PhaseOf(e *v1alpha1.ControlPlaneNodeEnactment) string {
	if e == nil {
		return ""
	}
	for _, phase := range phasePrecedence {
		if meta.IsStatusConditionTrue(e.Status.Conditions, phase) {
			return phase
		}
	}
	return ""
}

// maxName is how long the name of an object may be.
const maxNameLength = 253

// Name returns the name of an enactment: <policy>.<node>, shortened with a hash
// if that is too long.
func EnactmentName(policy, node string) string {
	full := policy + "." + node
	if len(full) <= maxNameLength {
		return full
	}
	sum := sha256.Sum256([]byte(full))
	hash := hex.EncodeToString(sum[:8])
	return strings.TrimRight(full[:maxNameLength-1-len(hash)], ".-") + "-" + hash
}

// Counts counts enactments by phase, nil if there are none. One without a phase
// has not been begun.
func CountPhases(enactments []v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.NodeCounts {
	if len(enactments) == 0 {
		return nil
	}
	counts := map[string]int32{}
	for i := range enactments {
		counts[PhaseOf(&enactments[i])]++
	}
	return &v1alpha1.NodeCounts{
		Pending:     ptr.To(counts[v1alpha1.PhasePending] + counts[""]),
		Progressing: ptr.To(counts[v1alpha1.PhaseProgressing]),
		Enforced:    ptr.To(counts[v1alpha1.PhaseEnforced]),
		Reverted:    ptr.To(counts[v1alpha1.PhaseReverted]),
		Aborted:     ptr.To(counts[v1alpha1.PhaseAborted]),
	}
}
