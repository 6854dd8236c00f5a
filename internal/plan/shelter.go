// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	toleration "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Shelter judges where the operator can run on while taints evict pods.
type Shelter struct {
	operator state.Operator
	nodes    []*corev1.Node
	policies []Policy
	stuck    Stuck
	// without caches, for each taint, the nodes that lack the taint although a policy claims
	// it.
	without map[string][]string
	// refuge tells whether a node is left on which the operator can run; nil until computed.
	refuge *bool
}

// Stuck tells whether a node will never get the taint, because another manager declares the
// node's taints or the node cannot be written.
type Stuck func(node *corev1.Node, claim Claim) bool

// NewShelter returns a Shelter. Expensive answers are computed on demand.
func NewShelter(operator state.Operator, nodes []*corev1.Node, policies []Policy, stuck Stuck) *Shelter {
	return &Shelter{operator: operator, nodes: nodes, policies: policies, stuck: stuck, without: map[string][]string{}}
}

// NodeCount returns how many nodes there are.
func (s *Shelter) NodeCount() int { return len(s.nodes) }

// OnLeadersNode tells whether the leading operator runs on the node.
func (s *Shelter) OnLeadersNode(node string) bool {
	return len(s.operator.Running) > 0 && s.operator.Running[0].Spec.NodeName == node
}

// HoldEvictions holds the claims of missing taints that would evict the operator. The hold is
// permanent if the operator could run on no node with all taints in place. On the leader's
// node the hold lasts until all other nodes have the taint.
func (s *Shelter) HoldEvictions(node *corev1.Node, claims []Claim) {
	for i := range claims {
		claim := &claims[i]
		if wouldEvict(node, *claim) {
			claim.HoldReason = s.reasonToHold(node, *claim)
		}
	}
}

// MayEvict tells whether one of the claims may write a NoExecute taint that the node lacks.
func MayEvict(node *corev1.Node, claims []Claim) bool {
	return slices.ContainsFunc(claims, func(c Claim) bool { return c.HoldReason == "" && c.Policy.IsWritable() && wouldEvict(node, c) })
}

// PostponeEvictions holds the claims of taints that would evict pods, because other nodes get such
// taints first. All other fields of the node are written.
func PostponeEvictions(node *corev1.Node, claims []Claim) {
	for i := range claims {
		if claims[i].HoldReason == "" && wouldEvict(node, claims[i]) {
			claims[i].HoldReason = "taints that evict pods are written to a few nodes at a time, and other nodes come first"
		}
	}
}

func wouldEvict(node *corev1.Node, claim Claim) bool {
	_, effect := state.ParseTaintField(claim.Field)
	value := TaintValue(node, claim.Field)
	return effect == corev1.TaintEffectNoExecute && (value == nil || *value != claim.Want)
}

func (s *Shelter) reasonToHold(node *corev1.Node, claim Claim) string {
	if s.operator.Pod.Namespace == "" {
		return "" // the operator runs outside of the cluster
	}
	if !s.operator.IsKnown() {
		return fmt.Sprintf("it is unknown whether this taint evicts the operator: the operator's own pod %s is not found. %s",
			s.operator.Pod, sayOwnPod)
	}
	key, _ := state.ParseTaintField(claim.Field)
	tolerate := fmt.Sprintf("add to the operator's Deployment the toleration {key: %s, operator: Exists, effect: NoExecute}", key)
	if !s.refugeLeft() {
		return "no node would be left on which the operator could run, so that nothing would be repaired or rolled back any more: " +
			tolerate + ", or keep a node for the operator that spec.nodeSelector does not select"
	}
	leader := s.operator.Running[0]
	taint := corev1.Taint{Key: key, Value: claim.Want, Effect: corev1.TaintEffectNoExecute}
	if !s.OnLeadersNode(node.Name) || toleratesAll(leader, []corev1.Taint{taint}) {
		return ""
	}
	others := slices.DeleteFunc(slices.Clone(s.nodesLacking(claim.Field)), func(name string) bool { return name == node.Name })
	if len(others) > 0 {
		return "the operator runs on this node, so this node comes last: it waits for " + wording.ListNames(others) + ", or " + tolerate
	}
	return ""
}

// nodesLacking returns the sorted nodes that lack the taint and will get it. Stuck nodes do not
// count: waiting for a stuck node would never end.
func (s *Shelter) nodesLacking(field string) []string {
	names, known := s.without[field]
	if known {
		return names
	}
	for i := range s.nodes {
		claims, _ := TaintClaims(s.nodes[i], s.policies)
		comes := func(c Claim) bool {
			return c.Field == field && c.Policy.MayBecomeWritable() && wouldEvict(s.nodes[i], c) && !s.stuck(s.nodes[i], c)
		}
		if slices.ContainsFunc(claims, comes) {
			names = append(names, s.nodes[i].Name)
		}
	}
	slices.Sort(names)
	s.without[field] = names
	return names
}

// refugeLeft tells whether the operator can run on some node once every node has all
// claimed taints.
func (s *Shelter) refugeLeft() bool {
	if s.refuge == nil {
		pod := s.operator.Running[0]
		left := slices.ContainsFunc(s.nodes, func(n *corev1.Node) bool { return s.canHost(n, pod) })
		s.refuge = &left
	}
	return *s.refuge
}

func (s *Shelter) canHost(node *corev1.Node, pod corev1.Pod) bool {
	if !state.IsNodeReady(node) {
		return false
	}
	if fits, err := nodeaffinity.GetRequiredNodeAffinity(&pod).Match(node); err != nil || !fits {
		return false
	}
	taints := slices.Clone(node.Spec.Taints)
	claims, _ := TaintClaims(node, s.policies)
	for _, claim := range claims {
		key, effect := state.ParseTaintField(claim.Field)
		taints = append(taints, corev1.Taint{Key: key, Value: claim.Want, Effect: effect})
	}
	return toleratesAll(pod, taints)
}

// toleratesAll tells whether a pod can start, and stay, on a node with the taints.
func toleratesAll(pod corev1.Pod, taints []corev1.Taint) bool {
	counts := func(t *corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }
	lasting := lastingTolerations(pod.Spec.Tolerations)
	_, untolerated := toleration.FindMatchingUntoleratedTaint(klog.Background(), taints, lasting, counts, false)
	return !untolerated
}
