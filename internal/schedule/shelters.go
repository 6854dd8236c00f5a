// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
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

// Hold holds taints that would evict the operator, with a look not older than
// timing.HeldTaintCheck. Only a new look can tell whether the operator may be evicted. again
// tells when to look at the node again if all evicting taints are held.
func (s *Shelters) Hold(node *corev1.Node, claims []plan.Claim, policies []plan.Policy, now time.Time, look func() (*plan.Shelter, error)) (
	again time.Duration, err error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := versionsOf(policies)
	if s.shelter == nil || s.of != of || now.Sub(s.taken) >= timing.HeldTaintCheck || s.shelter.OnLeadersNode(node.Name) {
		if s.shelter, err = look(); err != nil {
			return 0, err
		}
		s.of, s.taken = of, now
	}
	s.shelter.HoldEvictions(node, claims)
	if plan.MayEvict(node, claims) {
		delete(s.held, node.Name)
		return 0, nil
	}
	if s.held == nil {
		s.held = map[string]bool{}
	}
	s.held[node.Name] = true
	return max(timing.HeldTaintCheck, time.Duration(len(s.held))*timing.HeldTaintSpacing), nil
}

// Nodes returns the number of nodes at the last look.
func (s *Shelters) Nodes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shelter.NodeCount()
}

// Free records that no declared taint of a node evicts pods any more.
func (s *Shelters) Free(node string) {
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
