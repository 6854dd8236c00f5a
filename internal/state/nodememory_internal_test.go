// SPDX-License-Identifier: Apache-2.0

package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
)

// cachedNodes is the cache of an informer.
type cachedNodes struct {
	toolscache.Indexer
	version, lists int
}

func newCachedNodes() *cachedNodes {
	return &cachedNodes{Indexer: toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{})}
}

func (c *cachedNodes) put(name string, edit func(*corev1.Node)) {
	node := &corev1.Node{}
	if before := c.node(name); before != nil {
		node = before.DeepCopy()
	}
	c.version++
	node.Name, node.ResourceVersion = name, strconv.Itoa(c.version)
	edit(node)
	if err := c.Update(node); err != nil {
		panic(err)
	}
}

func (c *cachedNodes) node(name string) *corev1.Node {
	object, _, err := c.GetByKey(name)
	if err != nil {
		panic(err)
	}
	node, _ := object.(*corev1.Node)
	return node
}

// remove is what the event of a deletion does.
func (c *cachedNodes) remove(name string) {
	node := c.node(name)
	if node == nil {
		return
	}
	c.version++
	gone := node.DeepCopy()
	gone.ResourceVersion = strconv.Itoa(c.version)
	if err := c.Delete(gone); err != nil {
		panic(err)
	}
}

// replace is what a new list after the end of a watch does, with one node less.
func (c *cachedNodes) replace(without string) {
	c.version++
	objects := slices.DeleteFunc(c.List(), func(object any) bool { return object.(*corev1.Node).Name == without })
	if err := c.Replace(objects, strconv.Itoa(c.version)); err != nil {
		panic(err)
	}
}

// cache returns the cache as the memory reads it.
func (c *cachedNodes) cache() nodeCache {
	return nodeCache{version: c.LastStoreSyncResourceVersion, list: func() ([]any, error) {
		c.lists++
		return c.List(), nil
	}}
}

// update returns what a memory returns.
func (c *cachedNodes) update(memory *NodeMemory) ([]*corev1.Node, uint64) {
	nodes, identity, err := memory.update(c.cache())
	if err != nil {
		panic(err)
	}
	return nodes, identity
}

func (c *cachedNodes) roster(memory *NodeMemory) roster {
	roster, err := memory.rosterOf(c.cache())
	if err != nil {
		panic(err)
	}
	return roster
}

// sorted returns what a memory must return.
func (c *cachedNodes) sorted() []*corev1.Node {
	var nodes []*corev1.Node
	for _, object := range c.List() {
		nodes = append(nodes, object.(*corev1.Node))
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
	nodes, memory := newCachedNodes(), &NodeMemory{}
	g := NewWithT(t)
	for range 500 {
		for range random.IntN(3) {
			name := fmt.Sprint("node-", random.IntN(8))
			switch random.IntN(5) {
			case 0:
				nodes.remove(name)
			case 1:
				nodes.put(name, taint)
			case 2:
				nodes.put(name, relabel)
			default:
				nodes.put(name, retrait)
			}
		}
		if random.IntN(3) == 0 {
			nodes.update(memory) // a snapshot that reads no roster
		}
		g.Expect(nodes.roster(memory)).To(Equal(nodes.roster(&NodeMemory{})))
	}
}

// A taint of the operator does not change the roster.
func TestRosterIsKept(t *testing.T) {
	g := NewWithT(t)
	nodes, memory := newCachedNodes(), &NodeMemory{}
	for i := range 5 {
		nodes.put(fmt.Sprint(i), relabel)
	}
	place := func() *nodeTraits { return &nodes.roster(memory).sorted[0] }
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
	nodes, memory := newCachedNodes(), &NodeMemory{}
	g := NewWithT(t)
	type returned struct{ list, want []*corev1.Node }
	var before []returned
	for range 300 {
		for range random.IntN(4) {
			name := fmt.Sprint("node-", random.IntN(12))
			switch random.IntN(8) {
			case 0:
				nodes.remove(name)
			case 2:
				nodes.replace(name)
			case 1:
				nodes.put(name, relabel)
			default:
				nodes.put(name, taint)
			}
		}
		list, _ := nodes.update(memory)
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
	nodes, memory := newCachedNodes(), &NodeMemory{}
	identity := func() uint64 {
		_, identity := nodes.update(memory)
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
	nodes.remove("2")
	nodes.put("9", taint) // the number of nodes is unchanged
	g.Expect(identity()).NotTo(Equal(third))
}

// Without a change in the cache, the nodes are not compared again.
func TestNodeMemoryListsChangedCachesOnly(t *testing.T) {
	g := NewWithT(t)
	nodes, memory := newCachedNodes(), &NodeMemory{}
	nodes.update(memory)
	g.Expect(nodes.lists).To(Equal(1), "a cache that has no version yet")
	nodes.put("1", relabel)
	nodes.update(memory)
	nodes.update(memory)
	nodes.roster(memory)
	g.Expect(nodes.lists).To(Equal(2))
	for _, change := range []func(){
		func() { nodes.put("1", taint) }, func() { nodes.put("2", taint) }, func() { nodes.remove("1") }, func() { nodes.replace("2") },
		func() { nodes.Bookmark("99") },
	} {
		before := nodes.lists
		change()
		list, _ := nodes.update(memory)
		g.Expect(nodes.lists).To(Equal(before + 1))
		g.Expect(list).To(HaveLen(len(nodes.List())))
	}

	late := nodes.cache()
	list := late.list
	late.list = func() ([]any, error) {
		objects, err := list()
		nodes.put("3", relabel) // right after the list was read
		return objects, err
	}
	nodes.put("4", relabel)
	_, _, err := memory.update(late)
	g.Expect(err).NotTo(HaveOccurred())
	now, _ := nodes.update(memory)
	g.Expect(now).To(HaveLen(2), "a change after the list is seen the next time")

	late.list = func() ([]any, error) { return nil, errors.New("no cache") }
	nodes.put("5", relabel)
	_, _, err = memory.update(late)
	g.Expect(err).To(MatchError("no cache"))
	now, _ = nodes.update(memory)
	g.Expect(now).To(HaveLen(3), "after a failure, the nodes are read again")
}

// BenchmarkRoster reads the roster of 5,000 nodes after one node got a taint.
func BenchmarkRoster(b *testing.B) {
	nodes, memory := newCachedNodes(), &NodeMemory{}
	for i := range 5000 {
		nodes.put(fmt.Sprintf("node-%04d", i), relabel)
	}
	objects := nodes.List()
	for b.Loop() {
		changed := *objects[0].(*corev1.Node)
		objects[0] = &changed
		if _, err := memory.rosterOf(nodeCache{list: func() ([]any, error) { return objects, nil }}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRosterAnew does the same without a remembered roster.
func BenchmarkRosterAnew(b *testing.B) {
	nodes, memory := newCachedNodes(), &NodeMemory{}
	for i := range 5000 {
		nodes.put(fmt.Sprintf("node-%04d", i), relabel)
	}
	objects := nodes.List()
	for b.Loop() {
		changed := *objects[0].(*corev1.Node)
		objects[0], memory.roster = &changed, nil
		if _, err := memory.rosterOf(nodeCache{list: func() ([]any, error) { return objects, nil }}); err != nil {
			b.Fatal(err)
		}
	}
}
