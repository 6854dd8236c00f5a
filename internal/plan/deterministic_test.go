// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// shuffled returns a copy in another order; the same seed gives the same order.
func shuffled[T any](seed uint64, items []T) []T {
	out := slices.Clone(items)
	rand.New(rand.NewPCG(seed, seed)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestOrderOfNodesAndAddressesDoesNotMatter(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) {
			want := render(t, read(t, input))
			for seed := range uint64(20) {
				c := read(t, input)
				c.Nodes = shuffled(seed, c.Nodes)
				for i := range c.Nodes {
					c.Nodes[i].Status.Addresses = shuffled(seed, c.Nodes[i].Status.Addresses)
					c.Nodes[i].Spec.PodCIDRs = shuffled(seed, c.Nodes[i].Spec.PodCIDRs)
				}
				if diff := cmp.Diff(want, render(t, c)); diff != "" {
					t.Fatalf("seed %d (-sorted +shuffled):\n%s", seed, diff)
				}
			}
		})
	}
}

func TestOrderOfReferencesAndCIDRsDoesNotMatter(t *testing.T) {
	want := render(t, read(t, "testdata/merged-to-fewest-prefixes.in.yaml"))
	for seed := range uint64(20) {
		c := read(t, "testdata/merged-to-fewest-prefixes.in.yaml")
		network := c.Policies[0].Spec.Network
		network.Peers = shuffled(seed, network.Peers)
		for i := range network.Peers {
			network.Peers[i].CIDRs = shuffled(seed, network.Peers[i].CIDRs)
		}
		network.Components[0].AllowFrom = shuffled(seed, network.Components[0].AllowFrom)
		if diff := cmp.Diff(want, render(t, c)); diff != "" {
			t.Fatalf("seed %d (-sorted +shuffled):\n%s", seed, diff)
		}
	}
}

func TestOrderOfPoliciesMattersOnlyForCommonFields(t *testing.T) {
	all := []v1alpha1.ControlPlaneNetworkPolicy{
		policy("a", taints(v1alpha1.Taint{Key: "a", Effect: "NoSchedule"}), components(component("dns", "k8s-app", "kube-dns"))),
		policy("b", taints(v1alpha1.Taint{Key: "b", Effect: "NoSchedule"}), components(component("metrics", "k8s-app", "metrics-server"))),
		policy("c", services(entry("e", internal("Local"))), components(component("webhook", "app", "webhook"))),
		policy("d", services(entry("e", external("Local")))),
	}
	nodes := []*corev1.Node{node("cp-1")}
	for seed := range uint64(30) {
		g := NewWithT(t)
		policies := compile(shuffled(seed, all)...)
		for i := range policies {
			network := plan.NetworkPolicies(&policies[i], policies, state.Snapshot{Nodes: nodes})
			g.Expect(network.Losses).To(BeEmpty())
			if policies[i].Spec.Network != nil {
				g.Expect(network.Objects).To(HaveLen(1))
			}
		}
		claims, losses := plan.TaintClaims(nodes[0], policies)
		g.Expect(losses).To(BeEmpty())
		g.Expect(plain(claims)).To(ConsistOf(claim{Field: "a:NoSchedule", Policy: "a"}, claim{Field: "b:NoSchedule", Policy: "b"}))
		claims, losses = plan.ServiceClaims(service(corev1.ServiceTypeNodePort), policies)
		g.Expect(losses).To(BeEmpty())
		g.Expect(plain(claims)).To(ConsistOf(
			claim{Field: plan.InternalTrafficPolicy, Want: "Local", Policy: "c"},
			claim{Field: plan.ExternalTrafficPolicy, Want: "Local", Policy: "d"}))
	}
}

func component(name, key string, value v1alpha1.LabelValue) v1alpha1.Component {
	return v1alpha1.Component{
		Name:      name,
		Pods:      &v1alpha1.PodSelector{Namespace: "kube-system", Selector: labelled(key, value)},
		Ports:     []v1alpha1.Port{{Protocol: "TCP", Port: 443}},
		AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RolePods}},
	}
}

func TestYoungerPoliciesChangeNothingForOlderOnes(t *testing.T) {
	c := read(t, "testdata/claimed-by-older-policy.in.yaml")
	for count := range len(c.Policies) {
		older := plan.Compile(c.Policies[:count+1])
		all := plan.Compile(c.Policies)
		for i := range older {
			without, with := plan.NetworkPolicies(&older[i], older, c), plan.NetworkPolicies(&all[i], all, c)
			if diff := cmp.Diff(without, with); diff != "" {
				t.Errorf("%s (-without +with younger policies):\n%s", older[i].Name, diff)
			}
		}
	}
}

func TestPlanningDoesNotChangeItsInput(t *testing.T) {
	g := NewWithT(t)
	c, before := read(t, "testdata/both-directions.in.yaml"), read(t, "testdata/both-directions.in.yaml")
	network := plan.NetworkPolicies(&plan.Compile(c.Policies)[0], plan.Compile(c.Policies), state.Snapshot{Nodes: c.Nodes})
	network.Objects[0].Spec.PodSelector.MatchLabels["changed"] = "by the caller"
	network.Objects[0].Spec.PodSelector.MatchExpressions[0].Values[0] = "by the caller"
	g.Expect(cmp.Diff(before.Policies, c.Policies)).To(BeEmpty())
	g.Expect(cmp.Diff(before.Nodes, c.Nodes)).To(BeEmpty())
}

func TestDifferentContentsHaveDifferentHashes(t *testing.T) {
	g := NewWithT(t)
	g.Expect(plan.Hash(map[string]int{"b": 2, "a": 1})).To(Equal(plan.Hash(map[string]int{"a": 1, "b": 2})))
	g.Expect(plan.Hash("a")).NotTo(Equal(plan.Hash("b")))
	g.Expect(plan.Hash("a")).To(Equal("ac8d8342bbb2362d"), "existing hashes in clusters were computed in this way")
}
