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

// Shelter is where the operator goes on while taints evict pods.
type Shelter struct {
	operator state.Operator
	nodes    []corev1.Node
	policies []Policy
	stuck    Stuck
	// without are the nodes that lack a taint which is claimed for them, by the
	// taint, as far as that was asked for.
	without map[string][]string
	// refuge says whether a node is left on which the operator can run; nil until
	// that is asked for.
	refuge *bool
}

// Stuck says whether a node does not get a taint however long one waits: somebody else
// declares its taints, or it cannot be written.
type Stuck func(node *corev1.Node, claim Claim) bool

// NewShelter prepares to answer. What takes long is looked for when it is asked for.
func NewShelter(operator state.Operator, nodes []corev1.Node, policies []Policy, stuck Stuck) *Shelter {
	return &Shelter{operator: operator, nodes: nodes, policies: policies, stuck: stuck, without: map[string][]string{}}
}

// Nodes returns how many nodes there are.
func (s *Shelter) Nodes() int { return len(s.nodes) }

// OnLeadersNode says whether the operator itself runs on the node.
func (s *Shelter) OnLeadersNode(node string) bool {
	return len(s.operator.Running) > 0 && s.operator.Running[0].Spec.NodeName == node
}

// Hold holds back the claims of taints that the node does not have and that would
// evict the operator: for good where it could run nowhere once all have them, and
// where its leader is until all other nodes have them.
func (s *Shelter) Hold(node *corev1.Node, claims []Claim) {
	for i := range claims {
		claim := &claims[i]
		if evicts(node, *claim) {
			claim.HeldBack = s.why(node, *claim)
		}
	}
}

// Evicts says whether one of the claims is of a NoExecute taint that may be written
// and that the node does not have.
func Evicts(node *corev1.Node, claims []Claim) bool {
	return slices.ContainsFunc(claims, func(c Claim) bool { return c.HeldBack == "" && c.Policy.Writable() && evicts(node, c) })
}

// Postpone holds back the claims of taints that would evict pods: other nodes are given
// such taints first. Everything else of the node is written.
func Postpone(node *corev1.Node, claims []Claim) {
	for i := range claims {
		if claims[i].HeldBack == "" && evicts(node, claims[i]) {
			claims[i].HeldBack = "nodes are given taints that evict a share at a time, and others come first"
		}
	}
}

func evicts(node *corev1.Node, claim Claim) bool {
	_, effect := state.ParseTaintField(claim.Field)
	value := TaintValue(node, claim.Field)
	return effect == corev1.TaintEffectNoExecute && (value == nil || *value != claim.Want)
}

func (s *Shelter) why(node *corev1.Node, claim Claim) string {
	if s.operator.Pod.Namespace == "" {
		return "" // it runs outside of the cluster
	}
	if !s.operator.IsKnown() {
		return fmt.Sprintf("it is not known what this evicts of the operator: its own pod %s is not found. %s", s.operator.Pod, sayOwnPod)
	}
	key, _ := state.ParseTaintField(claim.Field)
	tolerate := fmt.Sprintf("add to the operator's Deployment the toleration {key: %s, operator: Exists, effect: NoExecute}", key)
	if !s.refugeLeft() {
		return "no node would be left on which the operator could run, so that nothing would be repaired or taken back any more: " +
			tolerate + ", or have a node that it can run on and that spec.nodeSelector does not select"
	}
	leader := s.operator.Running[0]
	taint := corev1.Taint{Key: key, Value: claim.Want, Effect: corev1.TaintEffectNoExecute}
	if !s.OnLeadersNode(node.Name) || tolerates(leader, []corev1.Taint{taint}) {
		return ""
	}
	others := slices.DeleteFunc(slices.Clone(s.lacking(claim.Field)), func(name string) bool { return name == node.Name })
	if len(others) > 0 {
		return "the operator itself runs on this node, which is why it comes last: it waits for " + wording.ListNames(others) + ", or " + tolerate
	}
	return ""
}

// lacking returns the nodes that lack the taint and are to be given it, sorted. Those
// that do not get it are not waited for: nobody would get on.
func (s *Shelter) lacking(field string) []string {
	names, known := s.without[field]
	if known {
		return names
	}
	for i := range s.nodes {
		claims, _ := Taints(&s.nodes[i], s.policies)
		comes := func(c Claim) bool {
			return c.Field == field && c.Policy.MayBecomeWritable() && evicts(&s.nodes[i], c) && !s.stuck(&s.nodes[i], c)
		}
		if slices.ContainsFunc(claims, comes) {
			names = append(names, s.nodes[i].Name)
		}
	}
	slices.Sort(names)
	s.without[field] = names
	return names
}

// refugeLeft says whether, once every node has all taints that are claimed for it, a
// node is left on which the operator can run.
func (s *Shelter) refugeLeft() bool {
	if s.refuge == nil {
		pod := s.operator.Running[0]
		left := slices.ContainsFunc(s.nodes, func(n corev1.Node) bool { return s.admits(&n, pod) })
		s.refuge = &left
	}
	return *s.refuge
}

func (s *Shelter) admits(node *corev1.Node, pod corev1.Pod) bool {
	if !state.IsNodeReady(node) {
		return false
	}
	if fits, err := nodeaffinity.GetRequiredNodeAffinity(&pod).Match(node); err != nil || !fits {
		return false
	}
	taints := slices.Clone(node.Spec.Taints)
	claims, _ := Taints(node, s.policies)
	for _, claim := range claims {
		key, effect := state.ParseTaintField(claim.Field)
		taints = append(taints, corev1.Taint{Key: key, Value: claim.Want, Effect: effect})
	}
	return tolerates(pod, taints)
}

// tolerates says whether a pod can be, and stay, on a node with the taints.
func tolerates(pod corev1.Pod, taints []corev1.Taint) bool {
	counts := func(t *corev1.Taint) bool { return t.Effect != corev1.TaintEffectPreferNoSchedule }
	_, untolerated := toleration.FindMatchingUntoleratedTaint(klog.Background(), taints, lasting(pod.Spec.Tolerations), counts, false)
	return !untolerated
}
