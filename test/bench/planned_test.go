// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// BenchmarkNetworkRepair observes, plans and compares after a change of one of 32
// NetworkPolicies, with 50, 500 and 5,000 nodes: the cost of a repair before its write. The
// second figure is the ratio to the time without results of earlier reconciliations.
func BenchmarkNetworkRepair(b *testing.B) {
	for _, nodes := range []int{50, 500, 5000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			c := newNetworkRepair(b, nodes)
			const few = 5
			started := time.Now()
			for range few {
				c.repairOne(b, nil, nil, nil)
			}
			anew := time.Since(started) / few
			kept, memory, inSync := &state.NodeMemory{}, &plan.NetworkMemory{}, &drift.InSync{}
			c.repairOne(b, kept, memory, inSync)
			for b.Loop() {
				c.repairOne(b, kept, memory, inSync)
			}
			b.ReportMetric(float64(anew)/float64(b.Elapsed()/time.Duration(b.N)), "anew/kept")
		})
	}
}

// BenchmarkKeptAfterReport asks for kept plans after one report, which makes another object
// of the policy.
func BenchmarkKeptAfterReport(b *testing.B) {
	c, nodes, memory := newNetworkRepair(b, 50), &state.NodeMemory{}, &plan.NetworkMemory{}
	policies, snapshot := c.observeCluster(b, nodes)
	memory.NetworkPolicies(&policies[0], policies, snapshot)
	decoded := policies[0].DeepCopy()
	for b.Loop() {
		version := *decoded // as the cache lists it: the parts are shared
		policies[0].ControlPlaneNetworkPolicy = &version
		memory.NetworkPolicies(&policies[0], policies, snapshot)
	}
}

// networkRepair is a cluster in which the NetworkPolicies of a policy drift in turn.
type networkRepair struct {
	observer state.Observer
	live     state.Snapshot
	version  int
}

func newNetworkRepair(b *testing.B, nodes int) *networkRepair {
	store := toolscache.NewIndexer(toolscache.DeletionHandlingMetaNamespaceKeyFunc, toolscache.Indexers{})
	for i := range nodes {
		if err := store.Add(slimObject(b, state.TransformNode, makeNode(i))); err != nil {
			b.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(options.NewScheme()).WithObjects(benchPolicy())
	stores := map[reflect.Type]toolscache.Indexer{reflect.TypeFor[*corev1.Node](): store}
	c := &networkRepair{observer: state.Observer{
		Cache: builder.Build(), Backend: func() backend.Live { return calico.Live{} },
		Stores: func(_ context.Context, kind client.Object) (toolscache.Indexer, error) {
			of := reflect.TypeOf(kind)
			if stores[of] == nil {
				stores[of] = toolscache.NewIndexer(toolscache.DeletionHandlingMetaNamespaceKeyFunc, state.IndexersOf(kind))
			}
			return stores[of], nil
		},
	}}
	policies, snapshot := c.observeCluster(b, nil)
	for i, object := range plan.NetworkPolicies(&policies[0], policies, snapshot).Objects {
		live := object.DeepCopy()
		setManager(live, i, "cpnp.dev/network", `{"f:spec":{"f:ingress":{}}}`)
		c.live.NetworkPolicies = append(c.live.NetworkPolicies, *live)
	}
	return c
}

func (c *networkRepair) observeCluster(b *testing.B, nodes *state.NodeMemory) ([]plan.Policy, state.Snapshot) {
	observer := c.observer
	observer.Nodes = nodes
	snapshot, err := observer.TakeSnapshot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return plan.Compile(snapshot.Policies), snapshot
}

func (c *networkRepair) repairOne(b *testing.B, nodes *state.NodeMemory, memory *plan.NetworkMemory, inSync *drift.InSync) {
	c.version++
	one := &c.live.NetworkPolicies[c.version%len(c.live.NetworkPolicies)]
	one.ResourceVersion = fmt.Sprint(1000000 + c.version)
	policies, snapshot := c.observeCluster(b, nodes)
	network := memory.NetworkPolicies(&policies[0], policies, snapshot)
	inSync.CompareNetworkPolicies(&policies[0], network, c.live.NetworkPolicies)
}
