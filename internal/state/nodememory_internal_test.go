// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cachedNodes is a cache: a changed node is a new object, and the order of a list is random.
type cachedNodes struct {
	objects map[string]*corev1.Node
	version int
}

func (c *cachedNodes) put(name string, edit func(*corev1.Node)) {
	c.version++
	node := &corev1.Node{}
	if before := c.objects[name]; before != nil {
		node = before.DeepCopy()
	}
	node.Name, node.ResourceVersion = name, strconv.Itoa(c.version)
	edit(node)
	c.objects[name] = node
}

func (c *cachedNodes) list() []any {
	var objects []any
	for _, node := range c.objects {
		objects = append(objects, node)
	}
	return objects
}

// sorted returns what a memory must return.
func (c *cachedNodes) sorted() []*corev1.Node {
	var nodes []*corev1.Node
	for _, node := range c.objects {
		nodes = append(nodes, node)
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return nodes
}

func taint(node *corev1.Node) {
	node.Spec.Taints = append(slices.Clone(node.Spec.Taints), corev1.Taint{Key: node.ResourceVersion})
}

func relabel(node *corev1.Node) {
	node.Labels = map[string]string{"version": node.ResourceVersion}
}

// retrait changes one property of a node that the roster shows, each time another one.
func retrait(node *corev1.Node) {
	version, _ := strconv.Atoi(node.ResourceVersion)
	switch version % 4 {
	case 0:
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}
	case 1:
		node.Status.Conditions = nil
	case 2:
		node.Spec.Taints = []corev1.Taint{{Key: autoscalerDeletionTaint}}
	default:
		node.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""}
	}
}

// After any changes in any order, the roster is that of the nodes in the cache.
func TestRosterFollowsTheCache(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	nodes, memory := &cachedNodes{objects: map[string]*corev1.Node{}}, &NodeMemory{}
	g := NewWithT(t)
	for range 500 {
		for range random.IntN(3) {
			name := fmt.Sprint("node-", random.IntN(8))
			switch random.IntN(5) {
			case 0:
				delete(nodes.objects, name)
			case 1:
				nodes.put(name, taint)
			case 2:
				nodes.put(name, relabel)
			default:
				nodes.put(name, retrait)
			}
		}
		if random.IntN(3) == 0 {
			memory.update(nodes.list()) // a snapshot that reads no roster
		}
		g.Expect(memory.rosterOf(nodes.list())).To(Equal(new(NodeMemory).rosterOf(nodes.list())))
	}
}

// A taint of the operator does not change the roster.
func TestRosterIsKept(t *testing.T) {
	g := NewWithT(t)
	nodes, memory := &cachedNodes{objects: map[string]*corev1.Node{}}, &NodeMemory{}
	for i := range 5 {
		nodes.put(fmt.Sprint(i), relabel)
	}
	place := func() *nodeTraits { return &memory.rosterOf(nodes.list()).sorted[0] }
	before := place()
	g.Expect(place()).To(BeIdenticalTo(before))
	nodes.put("3", taint)
	g.Expect(place()).To(BeIdenticalTo(before))
	nodes.put("3", func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: autoscalerDeletionTaint}} })
	g.Expect(place()).NotTo(BeIdenticalTo(before), "load balancers use another node")
}

// After any changes in any order, the memory returns the nodes of the cache,
// sorted, and does not change lists that it returned before.
func TestNodeMemoryFollowsTheCache(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	nodes, memory := &cachedNodes{objects: map[string]*corev1.Node{}}, &NodeMemory{}
	g := NewWithT(t)
	type returned struct{ list, want []*corev1.Node }
	var before []returned
	for range 300 {
		for range random.IntN(4) {
			name := fmt.Sprint("node-", random.IntN(12))
			switch random.IntN(4) {
			case 0:
				delete(nodes.objects, name)
			case 1:
				nodes.put(name, relabel)
			default:
				nodes.put(name, taint)
			}
		}
		list, _ := memory.update(nodes.list())
		want := nodes.sorted()
		g.Expect(list).To(HaveLen(len(want)))
		for i := range want {
			g.Expect(list[i]).To(Equal(want[i]))
		}
		g.Expect(memory.known).To(HaveLen(len(want)), "deleted nodes are forgotten")
		before = append(before, returned{list, slices.Clone(want)})
	}
	for _, r := range before {
		for i := range r.want {
			g.Expect(r.list[i].ResourceVersion).To(Equal(r.want[i].ResourceVersion), "a list that was returned has changed")
		}
	}
}

// Only a change that matters beyond the node itself makes a new state of all nodes.
func TestNodeMemoryNumbersStates(t *testing.T) {
	g := NewWithT(t)
	nodes, memory := &cachedNodes{objects: map[string]*corev1.Node{}}, &NodeMemory{}
	identity := func() uint64 {
		_, identity := memory.update(nodes.list())
		return identity
	}
	for i := range 5 {
		nodes.put(fmt.Sprint(i), relabel)
	}
	first := identity()
	g.Expect(first).NotTo(BeZero())
	g.Expect(identity()).To(Equal(first))
	nodes.put("3", taint)
	g.Expect(identity()).To(Equal(first), "a taint matters only to its node")
	nodes.put("3", relabel)
	second := identity()
	g.Expect(second).NotTo(Equal(first))
	nodes.put("2", func(n *corev1.Node) {
		n.ObjectMeta = metav1.ObjectMeta{Name: "2", ResourceVersion: "x", UID: "another"}
	})
	third := identity()
	g.Expect(third).NotTo(Equal(second), "a node of the same name is another node")
	delete(nodes.objects, "2")
	nodes.put("9", taint) // the number of nodes is unchanged
	g.Expect(identity()).NotTo(Equal(third))
}

// BenchmarkRoster reads the roster of 5,000 nodes after one node got a taint.
func BenchmarkRoster(b *testing.B) {
	nodes, memory := &cachedNodes{objects: map[string]*corev1.Node{}}, &NodeMemory{}
	for i := range 5000 {
		nodes.put(fmt.Sprintf("node-%04d", i), relabel)
	}
	objects := nodes.list()
	for b.Loop() {
		changed := *objects[0].(*corev1.Node)
		objects[0] = &changed
		memory.rosterOf(objects)
	}
}

// BenchmarkRosterAnew does the same without a remembered roster.
func BenchmarkRosterAnew(b *testing.B) {
	nodes, memory := &cachedNodes{objects: map[string]*corev1.Node{}}, &NodeMemory{}
	for i := range 5000 {
		nodes.put(fmt.Sprintf("node-%04d", i), relabel)
	}
	objects := nodes.list()
	for b.Loop() {
		changed := *objects[0].(*corev1.Node)
		objects[0], memory.roster = &changed, nil
		memory.rosterOf(objects)
	}
}
