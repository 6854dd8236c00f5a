// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

type nodeEdit func(*corev1.Node)

func ready(status corev1.ConditionStatus) nodeEdit {
	return func(n *corev1.Node) {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
	}
}

func unused(n *corev1.Node) { n.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""} }

func cordoned(n *corev1.Node) {
	n.Spec.Unschedulable = true
	n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
}

func leaving(n *corev1.Node) {
	n.DeletionTimestamp, n.Finalizers = ptr.To(metav1.Unix(1, 0)), []string{"karpenter.sh/termination"}
}

func clusterNode(name string, edits ...nodeEdit) client.Object {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, edit := range edits {
		edit(node)
	}
	return node
}

// endpoint is one endpoint of a slice: its node, if any, and its readiness.
func endpoint(node string, ready bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
	if node != "" {
		e.NodeName = &node
	}
	return e
}

func sliceOf(namespace, service, name string, family discoveryv1.AddressType, endpoints ...discoveryv1.Endpoint) client.Object {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: family, Endpoints: endpoints,
	}
}

// web returns a slice of IPv4 endpoints of shop/web.
func web(name string, endpoints ...discoveryv1.Endpoint) client.Object {
	return sliceOf("shop", "web", name, discoveryv1.AddressTypeIPv4, endpoints...)
}

func TestNodesWithEndpointsAreCounted(t *testing.T) {
	const v6 = discoveryv1.AddressTypeIPv6
	is, not := corev1.ConditionTrue, corev1.ConditionFalse
	a, b, c := clusterNode("a", ready(is)), clusterNode("b", ready(is), unused), clusterNode("c", ready(is))
	terminating := endpoint("a", false)
	terminating.Conditions.Serving, terminating.Conditions.Terminating = ptr.To(true), ptr.To(true)
	unsaid := endpoint("a", true)
	unsaid.Conditions.Ready = nil
	tests := map[string]struct {
		objects []client.Object
		all     state.Spread
		used    state.Spread
		none    bool // no endpoint is on a node
	}{
		"on every node": {
			objects: []client.Object{a, b, c, web("1", endpoint("a", true), endpoint("b", true)), web("2", endpoint("c", true))},
			all:     state.Spread{Nodes: 3, Served: 3, Ready: 3}, used: state.Spread{Nodes: 2, Served: 2, Ready: 2},
		},
		"on some nodes": {
			objects: []client.Object{a, b, c, web("1", endpoint("b", true))},
			all:     state.Spread{Nodes: 3, Served: 1, Ready: 1, Without: []string{"a", "c"}},
			used:    state.Spread{Nodes: 2, Without: []string{"a", "c"}},
		},
		"twice on one node": {
			objects: []client.Object{a, c, web("1", endpoint("a", true), endpoint("a", true), endpoint("a", false))},
			all:     state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"c"}}, used: state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"c"}},
		},
		"of unknown readiness": {
			objects: []client.Object{a, web("1", unsaid)},
			all:     state.Spread{Nodes: 1, Served: 1, Ready: 1}, used: state.Spread{Nodes: 1, Served: 1, Ready: 1},
		},
		"not ready": {
			objects: []client.Object{a, web("1", endpoint("a", false))},
			all:     state.Spread{Nodes: 1, Without: []string{"a"}}, used: state.Spread{Nodes: 1, Without: []string{"a"}},
		},
		"terminating, but still serving": {
			objects: []client.Object{a, web("1", terminating)},
			all:     state.Spread{Nodes: 1, Without: []string{"a"}}, used: state.Spread{Nodes: 1, Without: []string{"a"}},
		},
		"not ready on a node that is not ready": {
			objects: []client.Object{a, clusterNode("d", ready(not)), clusterNode("e", ready(corev1.ConditionUnknown)), web("1", endpoint("a", true), endpoint("d", false), endpoint("e", false))},
			all:     state.Spread{Nodes: 3, Served: 3, Ready: 1}, used: state.Spread{Nodes: 3, Served: 3, Ready: 1},
		},
		"not at all on a node that is not ready": {
			objects: []client.Object{a, clusterNode("d", ready(not)), web("1", endpoint("a", true))},
			all:     state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"d"}}, used: state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"d"}},
		},
		"not ready on a node of unknown readiness": {
			objects: []client.Object{clusterNode("new"), web("1", endpoint("new", false))},
			all:     state.Spread{Nodes: 1, Without: []string{"new"}}, used: state.Spread{Nodes: 1, Without: []string{"new"}},
		},
		"not on cordoned or leaving nodes": {
			objects: []client.Object{a, clusterNode("d", ready(is), cordoned), clusterNode("e", ready(is), leaving), web("1", endpoint("a", true))},
			all:     state.Spread{Nodes: 3, Served: 1, Ready: 1, Without: []string{"d", "e"}},
			used:    state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"d"}},
		},
		"on deleted nodes": {
			objects: []client.Object{a, web("1", endpoint("gone", true))},
			all:     state.Spread{Nodes: 1, Without: []string{"a"}}, used: state.Spread{Nodes: 1, Without: []string{"a"}},
		},
		"on no node": {
			objects: []client.Object{a, web("1", endpoint("", true))}, none: true,
			all: state.Spread{Nodes: 1, Without: []string{"a"}}, used: state.Spread{Nodes: 1, Without: []string{"a"}},
		},
		"of one IP version": {
			objects: []client.Object{a, c, web("1", endpoint("a", true), endpoint("c", true)), sliceOf("shop", "web", "2", v6, endpoint("a", true), endpoint("c", false))},
			all:     state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"c"}}, used: state.Spread{Nodes: 2, Served: 1, Ready: 1, Without: []string{"c"}},
		},
		"of one IP version, and an empty slice of the other": {
			objects: []client.Object{a, web("1", endpoint("a", true)), sliceOf("shop", "web", "2", v6)},
			all:     state.Spread{Nodes: 1, Served: 1, Ready: 1}, used: state.Spread{Nodes: 1, Served: 1, Ready: 1},
		},
		"with host names as addresses": {
			objects: []client.Object{a, sliceOf("shop", "web", "1", discoveryv1.AddressTypeFQDN, endpoint("a", true))},
			all:     state.Spread{Nodes: 1, Without: []string{"a"}}, used: state.Spread{Nodes: 1, Without: []string{"a"}},
		},
		"of another Service": {
			objects: []client.Object{
				a, sliceOf("shop", "db", "1", discoveryv1.AddressTypeIPv4, endpoint("a", true)),
				sliceOf("other", "web", "2", discoveryv1.AddressTypeIPv4, endpoint("a", true)),
			},
			all: state.Spread{Nodes: 1, Without: []string{"a"}}, used: state.Spread{Nodes: 1, Without: []string{"a"}},
		},
		"in a cluster without nodes": {objects: []client.Object{web("1", endpoint("a", true))}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			observe := observerOfShop(t, test.objects...)
			services, err := observe.ListServices(t.Context(), always)
			g.Expect(err).NotTo(HaveOccurred())
			want := state.Endpoints{LookedUp: true, All: test.all, Balanced: test.used, Unplaced: test.none}
			g.Expect(services).To(HaveExactElements(And(HaveField("Endpoints", want), HaveField("NamespaceLabels", HaveKey("team")))))

			want.All.Without, want.Balanced.Without = nil, nil
			one, err := observe.GetService(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}, always)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(one.Endpoints).To(Equal(want), "looking at a single Service gives the same, without names of nodes")
			g.Expect(one.NamespaceLabels).To(HaveKeyWithValue("team", "edge"))

			for _, asks := range []func(*corev1.Service) bool{nil, never} {
				services, err = observe.ListServices(t.Context(), asks)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(services).To(HaveExactElements(HaveField("Endpoints", state.Endpoints{})), "endpoints are counted only where they matter")
				one, err = observe.GetService(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}, asks)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(one.Endpoints).To(Equal(state.Endpoints{}))
			}
		})
	}
}

func always(*corev1.Service) bool { return true }
func never(*corev1.Service) bool  { return false }

// observerOfShop looks at a cluster with the Service shop/web and with objects in the form of the cache.
func observerOfShop(t *testing.T, objects ...client.Object) state.Observer {
	t.Helper()
	kept := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "edge"}}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
	}
	return observer(t, append(kept, objects...)...)
}

// limiting limits a list to the requested number, as a cache does; the fake client does not.
type limiting struct{ client.Reader }

func (l limiting) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if err := l.Reader.List(ctx, list, options...); err != nil {
		return err
	}
	var asked client.ListOptions
	asked.ApplyOptions(options)
	if nodes, ok := list.(*corev1.NodeList); ok && asked.Limit > 0 && int(asked.Limit) < len(nodes.Items) {
		nodes.Items = nodes.Items[:asked.Limit]
	}
	return nil
}

// A limited look at nodes says that every node has an endpoint only where that is
// so, and says that a load balancer has a node to send to wherever that is so.
func TestASingleServiceIsJudgedAsInAFullLook(t *testing.T) {
	const nodes = 120
	name := func(i int) string { return fmt.Sprintf("n%03d", i) }
	for about, test := range map[string]struct {
		with     func(i int) bool
		excluded func(i int) bool
	}{
		"on two nodes":                                     {func(i int) bool { return i < 2 }, func(int) bool { return false }},
		"on all nodes":                                     {func(int) bool { return true }, func(int) bool { return false }},
		"on all nodes but the last":                        {func(i int) bool { return i < nodes-1 }, func(int) bool { return false }},
		"on the nodes that load balancers use":             {func(i int) bool { return i%2 == 0 }, func(i int) bool { return i%2 == 1 }},
		"on the only node that load balancers use":         {func(i int) bool { return i == 100 }, func(i int) bool { return i != 100 }},
		"on all nodes but the one that load balancers use": {func(i int) bool { return i != 100 }, func(i int) bool { return i != 100 }},
		"on one of two nodes that load balancers use":      {func(i int) bool { return i == 100 }, func(i int) bool { return i != 100 && i != nodes-1 }},
		"on no node, and load balancers use a few of many": {func(int) bool { return false }, func(i int) bool { return i%2 == 0 }},
	} {
		t.Run(about, func(t *testing.T) {
			g := NewWithT(t)
			var objects []client.Object
			var endpoints []discoveryv1.Endpoint
			for i := range nodes {
				node := clusterNode(name(i), ready(corev1.ConditionTrue))
				if test.excluded(i) {
					unused(node.(*corev1.Node))
				}
				objects = append(objects, node)
				if test.with(i) {
					endpoints = append(endpoints, endpoint(name(i), true))
				}
			}
			for chunk := range slices.Chunk(endpoints, 50) {
				objects = append(objects, web(fmt.Sprintf("s%d", len(objects)), chunk...))
			}
			observe := observerOfShop(t, objects...)
			observe.Cache = limiting{observe.Cache}
			services, err := observe.ListServices(t.Context(), always)
			g.Expect(err).NotTo(HaveOccurred())
			all := services[0].Endpoints
			one, err := observe.GetService(t.Context(), services[0].Key(), always)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(one.Endpoints.All.IsComplete()).To(Equal(all.All.IsComplete()))
			g.Expect(one.Endpoints.Balanced.IsComplete()).To(Equal(all.Balanced.IsComplete()))
			g.Expect(one.Endpoints.Balanced.Ready > 0).To(Equal(all.Balanced.Ready > 0))
			g.Expect(len(all.All.Without)).To(BeNumerically("<=", 3))
		})
	}
}
