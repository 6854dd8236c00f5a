// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/test/reality"
)

var clusterSeed = flag.Uint64("cluster-seed", 1, "of the first random cluster; 0 takes random ones")

const randomClusters = 400

// Random clusters have known machines, and Kubernetes shows only a part of the machines.
// Whenever a policy is verified, the model of the dataplane allows every required connection
// after all writes, and denies the tried restricted connections. test/hosts tries a sample of
// the clusters with packets.
func TestVerifiedPoliciesCutNoRequiredFlowInRandomClusters(t *testing.T) {
	verified := 0
	for i := range uint64(randomClusters) {
		seed := *clusterSeed + i
		if *clusterSeed == 0 {
			seed = rand.Uint64()
		}
		if tryRandomCluster(t, seed) {
			verified++
		}
	}
	t.Logf("%d of %d clusters were verified", verified, randomClusters)
	if verified < randomClusters/5 || verified > randomClusters*9/10 {
		t.Errorf("%d of %d clusters were verified: too few, or too many, for the test to tell anything", verified, randomClusters)
	}
}

var randomClusterTime = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// clusterOf returns what Kubernetes shows of a cluster, with a policy that knows every API server.
func clusterOf(g *WithT, r *reality.Reality) *cluster {
	c := &cluster{policy: "p", calico: calico.Live{
		Mode: calico.Aggregated, Felix: []v3.FelixConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "default"}}}, Pools: r.Pools(),
	}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](reality.APIServerPort)}},
	}
	for _, address := range r.Servers(false) {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address.String()}})
	}
	policy := r.Policy()
	policy.Name, policy.Generation, policy.Finalizers = c.policy, 1, []string{v1alpha1.Finalizer}
	for _, m := range r.Machines {
		if !m.ControlPlane {
			continue
		}
		address := v1alpha1.APIServerAddress{Address: m.Advertised.String()}
		if !m.Running {
			address.MissingSince = ptr.To(metav1.NewTime(randomClusterTime.Add(-24 * time.Hour)))
		}
		policy.Status.APIServers = append(policy.Status.APIServers, address)
	}
	for _, object := range append(r.Objects(), slice, policy) {
		c.objects = append(c.objects, cached(g, object))
	}
	return c
}

// tryRandomCluster tells whether the policy is verified.
func tryRandomCluster(t *testing.T, seed uint64) bool {
	t.Helper()
	g, r := NewWithT(t), reality.Make(seed)
	c := clusterOf(g, r)
	snapshot, err := c.observer().TakeSnapshot(context.Background())
	g.Expect(err).NotTo(HaveOccurred())
	snapshot.Now = randomClusterTime
	policies := plan.Compile(snapshot.Policies)
	o := assess(&policies[0], policies, snapshot)
	if !o.Verdict.Holds {
		return false
	}
	whole := o.Hosts
	whole.Now, whole.Objects = whole.Whole, whole.WholeObjects
	writes := judge.WritesOf(drift.CompareHosts(o.Policy, o.Policies, whole, snapshot.Backend))
	world := dataplane.NewWorld(judge.StateAfter(calico.Of(snapshot.Backend), writes), calicoNodes(snapshot))
	for _, try := range r.Connections() {
		is := world.VerdictOn(dataplane.Flow{From: try.From, To: try.To, Node: try.Node, Protocol: dataplane.TCP, Port: try.Port})
		if (is.Decision == dataplane.Allowed) != try.Allowed {
			t.Errorf("-cluster-seed=%d: %s, from %s to %s port %d of %s: %s (%s)\nverified: %s\n%+v",
				seed, try.Why, try.From, try.To, try.Port, try.Node, is.Decision, is.Reason, o.Verdict.Message, *r)
			return true
		}
	}
	return true
}
