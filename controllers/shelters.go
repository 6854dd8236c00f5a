// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const (
	// heldAgain is when to look again at a node with a held taint: the end of the hold causes
	// no event of the node.
	heldAgain = 5 * time.Second
	// heldPerNode lengthens the pause with the number of held nodes: at most 50 nodes a second
	// are looked at.
	heldPerNode = 20 * time.Millisecond
	// unwritableAfter is how long writes to a node must have failed before the operator stops
	// waiting for the node's taint.
	unwritableAfter = time.Minute
)

// Shelters shares one look at the cluster among all nodes with held taints. The zero value
// is ready to use. Shelters is safe for concurrent use.
type Shelters struct {
	mu      sync.Mutex
	held    map[string]bool // by node
	taken   time.Time
	of      string // the policies
	shelter *plan.Shelter
}

// hold holds taints that would evict the operator, with a look not older than heldAgain.
// Only a new look can tell whether the operator itself may be evicted. again tells when to
// look at the node again if all evicting taints are held.
func (s *Shelters) hold(node *corev1.Node, claims []plan.Claim, policies []plan.Policy, now time.Time, look func() (*plan.Shelter, error)) (
	again time.Duration, err error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := versionsOf(policies)
	if s.shelter == nil || s.of != of || now.Sub(s.taken) >= heldAgain || s.shelter.OnLeadersNode(node.Name) {
		if s.shelter, err = look(); err != nil {
			return 0, err
		}
		s.of, s.taken = of, now
	}
	s.shelter.Hold(node, claims)
	if plan.Evicts(node, claims) {
		delete(s.held, node.Name)
		return 0, nil
	}
	if s.held == nil {
		s.held = map[string]bool{}
	}
	s.held[node.Name] = true
	return max(heldAgain, time.Duration(len(s.held))*heldPerNode), nil
}

// nodes returns the number of nodes at the last look.
func (s *Shelters) nodes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shelter.Nodes()
}

// free records that no declared taint of a node evicts pods any more.
func (s *Shelters) free(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, node)
}

// versionsOf returns a text that differs after any change of the policies.
func versionsOf(policies []plan.Policy) string {
	var text strings.Builder
	for i := range policies {
		text.WriteString(string(policies[i].UID) + "/" + policies[i].ResourceVersion + "\n")
	}
	return text.String()
}

// look returns the places where the operator can run while taints evict pods.
func (r *NodeReconciler) look(ctx context.Context, policies []plan.Policy) (*plan.Shelter, error) {
	operator, err := r.Observe.FindOperator(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := r.Observe.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	records, err := r.Observe.ListNodeRecords(ctx)
	if err != nil {
		return nil, err
	}
	return plan.NewShelter(operator, nodes, policies, stuck(r.History, records, policies, r.Clock.Now())), nil
}

// stuck returns a function that tells whether a node will not get a taint, however long the
// operator waits.
func stuck(history *drift.History, records state.NodeRecords, policies []plan.Policy, now time.Time) plan.Stuck {
	return func(node *corev1.Node, claim plan.Claim) bool {
		shared := remembering(history, drift.Node(node, drift.Move(node, records.OfNode(node).Record, policies)), node.UID)
		if history.FailingFor(shared.Object, now) >= unwritableAfter {
			return true
		}
		outcome := drift.Fields(shared, []plan.Claim{claim}, policies)
		return slices.ContainsFunc(outcome.Findings, func(f drift.Finding) bool { return f.State == v1alpha1.StateConflicted })
	}
}
