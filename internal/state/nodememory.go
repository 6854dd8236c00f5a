// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// NodeMemory keeps, between two snapshots, the results derived from all nodes: the sorted list,
// the identifying addresses, the facts about the distribution, and the roster. For 5,000 nodes,
// to derive these results takes longer than the rest of a reconciliation.
//
// No outdated result is kept: if the cache has another version, a snapshot compares the
// cached nodes with the remembered nodes. A cached object never changes, and a changed node
// is another object. The zero value is ready to use; a nil value remembers nothing.
type NodeMemory struct {
	mu sync.Mutex
	// version is the version of the cache before the last comparison; empty if unknown.
	version string
	known   map[*corev1.Node]bool // the cached objects
	sorted  []*corev1.Node        // the same, sorted by name
	// inUse tells that somebody has the sorted list, so that a change needs another list.
	inUse bool
	// identity numbers the states of the nodes, apart from fields of no consequence to
	// identity.
	identity uint64

	// derived is worked out from the nodes of one identity, and from the tunnels.
	derived   derived
	derivedOf uint64
	tunnels   Tunnels

	// roster is worked out from the list when it is first needed; nil after a change of the
	// traits of a node.
	roster *roster
}

// nodeCache reads the nodes in the cache.
type nodeCache struct {
	// version returns a text that differs after each change of a node; empty if the cache
	// cannot tell. Without a function, the nodes are always compared.
	version func() string
	// list returns the nodes in no particular order.
	list func() ([]any, error)
}

// derived is what follows from all nodes.
type derived struct {
	addresses *Addresses
	facts     []profile.Node
}

// update returns the sorted list of the nodes in the cache, and the number of their state.
// Nobody may change the list.
func (m *NodeMemory) update(cached nodeCache) ([]*corev1.Node, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refresh(cached); err != nil {
		return nil, 0, err
	}
	m.inUse = true
	return m.sorted, m.identity, nil
}

// rosterOf returns the roster of the nodes in the cache. Nobody may change the result.
func (m *NodeMemory) rosterOf(cached nodeCache) (roster, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refresh(cached); err != nil {
		return roster{}, err
	}
	if m.roster == nil {
		all := rosterOfAll(m.sorted)
		m.roster = &all
	}
	return *m.roster, nil
}

// refresh remembers the nodes in the cache. The version is read before the nodes: nodes that
// are newer than the version are compared once more.
func (m *NodeMemory) refresh(cached nodeCache) error {
	version := ""
	if cached.version != nil {
		version = cached.version()
	}
	if version != "" && version == m.version {
		return nil
	}
	objects, err := cached.list()
	if err != nil {
		return err
	}
	m.remember(objects)
	m.version = version
	return nil
}

// remember compares the nodes in the cache with the remembered ones, and remembers the
// nodes.
func (m *NodeMemory) remember(objects []any) {
	changed, asMany := m.changed(objects), len(objects) == len(m.known) && m.identity != 0
	if len(changed) == 0 && asMany {
		return
	}
	every := func(is func(*corev1.Node) bool) bool {
		return asMany && !slices.ContainsFunc(changed, func(node *corev1.Node) bool { return !is(node) })
	}
	kept := every(m.knowsIdentity)
	if !every(m.knowsTraits) {
		m.roster = nil
	}
	if !m.exchange(objects, changed) {
		m.replace(objects)
	}
	if !kept {
		m.identity++
	}
}

// changed returns the nodes that are not remembered. Among thousands of nodes, an address in
// memory is found faster than a name.
func (m *NodeMemory) changed(objects []any) []*corev1.Node {
	var changed []*corev1.Node
	for _, object := range objects {
		if node, ok := object.(*corev1.Node); ok && !m.known[node] {
			changed = append(changed, node)
		}
	}
	return changed
}

// knowsIdentity tells whether a node of the name with the same identity is remembered.
func (m *NodeMemory) knowsIdentity(node *corev1.Node) bool {
	i, found := m.indexOf(node.Name)
	return found && sameIdentity(m.sorted[i], node)
}

// knowsTraits tells whether a node of the name with the same traits is remembered.
func (m *NodeMemory) knowsTraits(node *corev1.Node) bool {
	i, found := m.indexOf(node.Name)
	return found && traitsOf(m.sorted[i]) == traitsOf(node)
}

// indexOf returns the place of a node in the list.
func (m *NodeMemory) indexOf(name string) (i int, found bool) {
	return slices.BinarySearchFunc(m.sorted, name, func(n *corev1.Node, name string) int { return cmp.Compare(n.Name, name) })
}

// exchange replaces the changed nodes, if no node has come or gone. The work is in
// proportion to the changed nodes. The former list may still be in use, and is left alone.
func (m *NodeMemory) exchange(objects []any, changed []*corev1.Node) bool {
	if len(objects) != len(m.sorted) {
		return false
	}
	places := make([]int, 0, len(changed))
	for _, node := range changed {
		i, found := m.indexOf(node.Name)
		if !found {
			return false
		}
		places = append(places, i)
	}
	if m.inUse {
		m.sorted, m.inUse = slices.Clone(m.sorted), false
	}
	for n, i := range places {
		delete(m.known, m.sorted[i])
		m.known[changed[n]], m.sorted[i] = true, changed[n]
	}
	return true
}

// replace remembers other nodes. The former list may still be in use, and is left alone.
func (m *NodeMemory) replace(objects []any) {
	sorted := make([]*corev1.Node, 0, len(objects))
	for _, object := range objects {
		if node, ok := object.(*corev1.Node); ok {
			sorted = append(sorted, node)
		}
	}
	slices.SortFunc(sorted, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	m.known, m.sorted, m.inUse = make(map[*corev1.Node]bool, len(sorted)), sorted, false
	for _, node := range sorted {
		m.known[node] = true
	}
}

// derive returns the results for the nodes of an identity, and derives the results if not
// remembered yet.
func (m *NodeMemory) derive(identity uint64, tunnels Tunnels, work func() derived) derived {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.derived.addresses == nil || m.derivedOf != identity || !reflect.DeepEqual(m.tunnels, tunnels) {
		m.derived, m.derivedOf, m.tunnels = work(), identity, tunnels
	}
	return m.derived
}

// sameIdentity tells whether two versions of a node differ at most in fields without
// consequence for other nodes: the taints, the managers of the taints, and the record of
// the taints.
func sameIdentity(a, b *corev1.Node) bool {
	return equality.Semantic.DeepEqual(identityOf(a), identityOf(b))
}

func identityOf(node *corev1.Node) *corev1.Node {
	is := *node
	is.ResourceVersion, is.ManagedFields, is.Spec.Taints = "", nil, nil
	is.Annotations = maps.Clone(node.Annotations)
	delete(is.Annotations, v1alpha1.AnnotationRecord)
	delete(is.Annotations, corev1.LastAppliedConfigAnnotation)
	return &is
}
