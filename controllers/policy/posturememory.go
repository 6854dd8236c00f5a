// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// postureMemory keeps what one policy's last report found of each node and Service, with
// everything that this follows from. A report compares anew only what has changed since.
// The single worker for policies uses the memory.
type postureMemory struct {
	inputs   plan.PolicyInputs
	nodes    map[string]nodePosture
	services map[types.NamespacedName]*servicePosture
	round    uint64 // of looking at all Services
}

// posture is what a report counts of one object.
type posture struct {
	writes   drift.Writes
	declared int
	findings []drift.Finding
}

// nodePosture is the posture of one version of a node and of its record.
type nodePosture struct {
	posture
	uid     types.UID
	version string
	record  *v1alpha1.ControlPlaneNodeRecord
}

// servicePosture is the posture of one version of a Service and of the labels of its
// namespace. selected tells whether the policy selects the Service.
type servicePosture struct {
	posture
	service   *corev1.Service
	namespace labels.Set
	selected  bool
	round     uint64 // of the last look
}

// of returns the memory of a policy, empty after any change of the policies.
func (m *postureMemories) of(policy string, policies []plan.Policy) *postureMemory {
	inputs := plan.InputsOf(policies)
	if memory := m.policies[policy]; memory != nil && memory.inputs.Same(inputs) {
		memory.inputs = inputs // whose parts the next inputs share: equal pointers are compared fastest
		return memory
	}
	memory := &postureMemory{inputs: inputs, nodes: map[string]nodePosture{}, services: map[types.NamespacedName]*servicePosture{}}
	if m.policies == nil {
		m.policies = map[string]*postureMemory{}
	}
	maps.DeleteFunc(m.policies, func(name string, _ *postureMemory) bool { return plan.FindPolicy(policies, name) == nil })
	m.policies[policy] = memory
	return memory
}

// postureMemories are the memories of all policies. The zero value is ready to use.
type postureMemories struct{ policies map[string]*postureMemory }

// node returns the remembered posture of a node, if nothing that it follows from has
// changed.
func (m *postureMemory) node(node *corev1.Node, record *v1alpha1.ControlPlaneNodeRecord, writes drift.Writes) (posture, bool) {
	known, found := m.nodes[node.Name]
	same := found && known.uid == node.UID && known.version == node.ResourceVersion && known.record == record && known.writes.Equal(writes)
	return known.posture, same
}

// rememberNode remembers the posture of a node. What a NoExecute taint evicts depends on
// other nodes and on the time, so such a posture is not remembered; nor is one of a node
// without a version.
func (m *postureMemory) rememberNode(node *corev1.Node, record *v1alpha1.ControlPlaneNodeRecord, claims []plan.Claim, is posture) {
	evicts := slices.ContainsFunc(claims, func(c plan.Claim) bool {
		return strings.HasSuffix(c.Field, ":"+string(corev1.TaintEffectNoExecute))
	})
	if evicts || node.UID == "" || node.ResourceVersion == "" {
		delete(m.nodes, node.Name)
		return
	}
	m.nodes[node.Name] = nodePosture{posture: is, uid: node.UID, version: node.ResourceVersion, record: record}
}

// service returns the remembered posture of a Service, if nothing that it follows from has
// changed. A cached object never changes: a changed Service is another object.
func (m *postureMemory) service(service state.Service, writes drift.Writes) *servicePosture {
	known := m.services[service.Key()]
	if known == nil || known.service != service.Service || !known.writes.Equal(writes) ||
		!maps.Equal(known.namespace, service.NamespaceLabels) {
		return nil
	}
	known.round = m.round
	return known
}

// rememberService remembers the posture of a Service. A posture that depends on endpoints
// is not remembered.
func (m *postureMemory) rememberService(service state.Service, selected bool, is posture) {
	if service.Endpoints.LookedUp {
		delete(m.services, service.Key())
		return
	}
	m.services[service.Key()] = &servicePosture{
		posture: is, service: service.Service, namespace: service.NamespaceLabels, selected: selected, round: m.round,
	}
}

// keepServices forgets the Services that were not looked at in this round.
func (m *postureMemory) keepServices() {
	maps.DeleteFunc(m.services, func(_ types.NamespacedName, s *servicePosture) bool { return s.round != m.round })
}

// keepNodes forgets the nodes that are gone.
func (m *postureMemory) keepNodes(nodes []corev1.Node) {
	if len(m.nodes) <= len(nodes) {
		return
	}
	there := make(map[string]bool, len(nodes))
	for i := range nodes {
		there[nodes[i].Name] = true
	}
	maps.DeleteFunc(m.nodes, func(name string, _ nodePosture) bool { return !there[name] })
}
