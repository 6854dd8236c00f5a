// SPDX-License-Identifier: Apache-2.0

// Package rollout decides how the protection of hosts reaches the control-plane
// nodes: which node is started, which node keeps its rules, and which node is
// rolled back. The package is pure. The only memory are the
// ControlPlaneNodeEnactments, so a restarted operator, or another operator that
// takes over, continues or rolls back, and skips no step.
//
// The caller has to write in this order: first the enactments, of each enactment the
// spec, the status, and then the removal of a confirmation; then the cluster, by what
// RulesetFor returns for the persisted enactments.
package rollout

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
)

// Expectation is the expected outcome of an attempt to connect to a protected node,
// by the declared rules and the required flows.
type Expectation int

// The expectations.
const (
	// AnyOutcome is right where no rule is declared for the attempt, or for the
	// observer.
	AnyOutcome Expectation = iota
	// MustConnect is for an allowed flow.
	MustConnect
	// MustNotConnect is for a flow declared closed. The flow may still connect
	// until the failsafe ports of the node are scoped.
	MustNotConnect
)

// Node is a control-plane node that the policy selects.
type Node struct {
	// Name of the Node.
	Name string
	// Ready is the status of the Node's condition Ready.
	Ready bool
	// Created is the time when the Node object was created. A node is no evidence
	// about the rules of nodes started before it joined.
	Created time.Time
	// ForeignEndpoint is the name of a foreign endpoint in the place of the managed
	// endpoint, empty if there is none. A node with a foreign endpoint is not started.
	ForeignEndpoint string
	// Live is the ruleset that the node has now: the version that the live endpoint
	// carries and enforces, and whether the failsafe ports are scoped as that version
	// calls for.
	Live Ruleset
	// Declared is the ruleset at the end of the rollout. Failsafe ports are scoped
	// after the node has soaked with open failsafe ports.
	Declared Ruleset
	// FailsafesContested tells whether the failsafe ports are open because another
	// manager sets them.
	FailsafesContested bool
	// Programmed tells whether the ruleset of Enactment (see RulesetFor) is written
	// and had the time to reach the node. The same holds in every phase: after a
	// roll back has reached the node, the node is Programmed. For a node never
	// started, no ruleset has to be written.
	Programmed bool
	// Enactment as persisted, nil if there is none. Decide never modifies it.
	Enactment *v1alpha1.ControlPlaneNodeEnactment
	// Targets are the addresses and ports for the observers to try. The first 64
	// are used.
	Targets []v1alpha1.ProbeTarget
	// Expect returns the expected outcome of an attempt of an observer. Nil stands
	// for AnyOutcome.
	Expect func(observer v1alpha1.Observation, address string, port v1alpha1.PortNumber) Expectation
}

// Input is the complete input of a decision.
type Input struct {
	// Now is the current time. Enactments keep whole seconds.
	Now time.Time
	// Intent is Enforce to continue the rollout, Hold to start no node and to roll back
	// the nodes in flight, or RollBack to roll back all nodes.
	Intent intent.Intent
	// Reason is the reason to hold or to roll back. While the rollout continues, a
	// reason starts no node now, because the declared rules are not verified for this
	// generation.
	Reason string
	// Policy, UID and Generation are the name, UID and generation of the policy.
	Policy     string
	UID        types.UID
	Generation int64
	// Rollout as declared. Nil, and fields of value zero, stand for the defaults
	// of the API.
	Rollout *v1alpha1.Rollout
	// Nodes are all selected control-plane nodes, sorted by name.
	Nodes []Node
	// OthersInFlight is the number of nodes that other policies have in flight or
	// have to roll back.
	OthersInFlight int
	// CutFlow is a required flow cut now, empty if there is none.
	CutFlow string
	// NotJudged is the reason why the effect of the rules cannot be judged, empty
	// if the effect can be judged.
	NotJudged string
	// FailedNode is a node that left the cluster and was reverted for this
	// generation, empty if there is none.
	FailedNode string
	// OtherNodes are control-plane nodes that the policy does not protect. Only
	// Name, Ready and Created are used.
	OtherNodes []Node
	// EtcdSize is the number of nodes with a member of etcd: of the nodes marked so, or
	// of the whole control plane if none is marked. If the number is unknown, the value
	// is 0, and the number of Nodes is used.
	EtcdSize int
}

// Decision is the result of Decide.
type Decision struct {
	// Enactments are the enactments to persist, one for each node, in the order of
	// the nodes. The observers are unchanged, because observers belong to the
	// probes. An annotation missing here has to be removed from the object, because
	// the annotation confirms an earlier state.
	Enactments []v1alpha1.ControlPlaneNodeEnactment
	// WakeAfter is the time after which to decide again at the latest; 0 if only
	// an event can change the decision.
	WakeAfter time.Duration
	// ForbiddenConnections describe connections to Enforced nodes although the flow
	// is declared closed.
	ForbiddenConnections []string
}

// Decide returns the next state of every node. To decide again on the result
// changes no enactment until the cluster changes.
func Decide(in Input) Decision {
	r := newRun(in)
	var d Decision
	switch in.Intent {
	case intent.RollBack:
		r.rollBackAll()
	case intent.Hold:
		r.holdNodes()
	default:
		r.updateEnactments()
		r.revertFailedNodes()
		r.continueRollout()
		d.ForbiddenConnections = r.patrolEnforced()
	}
	r.setVerdicts()
	if !r.nextWake.IsZero() {
		d.WakeAfter = r.nextWake.Sub(in.Now)
	}
	for _, n := range r.nodeRuns {
		d.Enactments = append(d.Enactments, *n.desired)
	}
	return d
}
