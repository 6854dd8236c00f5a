// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// With Cilium, a component is held if it would render an ipBlock with the
// address of a node or an API server; no other component is held.
func TestIPBlocksThatCiliumDoesNotApplyToNodesAreHeld(t *testing.T) {
	from := func(references ...v1alpha1.PeerReference) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Network.Components[0].AllowFrom = references }
	}
	to := func(destinations ...v1alpha1.Destination) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Network.Components[0].AllowTo = destinations }
	}
	peer := func(cidr v1alpha1.CIDR) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Network.Peers = []v1alpha1.Peer{{Name: "some", CIDRs: []v1alpha1.CIDR{cidr}}}
		}
	}
	some := v1alpha1.PeerReference{Peer: "some"}
	pods, nodes := v1alpha1.PeerReference{Role: v1alpha1.RolePods}, v1alpha1.PeerReference{Role: v1alpha1.RoleNodes}
	for name, test := range map[string]struct {
		edits []edit
		held  string
	}{
		"Pods":                               {edits: []edit{from(pods)}},
		"Nodes":                              {edits: []edit{from(pods, nodes)}, held: "in allowFrom"},
		"The control plane":                  {edits: []edit{from(v1alpha1.PeerReference{Role: v1alpha1.RoleControlPlane})}, held: "in allowFrom"},
		"To the control plane":               {edits: []edit{from(pods), to(v1alpha1.Destination{Role: v1alpha1.RoleControlPlane})}, held: "in allowTo"},
		"Both":                               {edits: []edit{from(nodes), to(v1alpha1.Destination{Role: v1alpha1.RoleNodes})}, held: "in allowFrom, in allowTo"},
		"A peer outside the cluster":         {edits: []edit{from(some), peer("203.0.113.0/24")}},
		"A peer that is a node":              {edits: []edit{from(some), peer("10.0.1.1/32")}, held: "such as 10.0.1.1"},
		"A peer with nodes in it":            {edits: []edit{from(pods), to(v1alpha1.Destination{Peer: "some"}), peer("10.0.0.0/8")}, held: "in allowTo"},
		"A peer that is an API server":       {edits: []edit{from(pods), to(v1alpha1.Destination{Peer: "some"}), peer("198.51.100.0/28")}, held: "such as 198.51.100.7"},
		"Everybody":                          {edits: []edit{from(some), peer("0.0.0.0/0")}, held: "in allowFrom"},
		"Everybody, of the other IP version": {edits: []edit{from(some), peer("::/0")}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"), machine("worker-1", "10.0.1.1"))
			snapshot.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("198.51.100.7:6443")}
			runsAsPods := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.Profile = v1alpha1.Profile{CNI: "cilium"}
				p.Spec.Network = &v1alpha1.NetworkSpec{}
				p.Spec.Network.Components = []v1alpha1.Component{{
					Name: "dns", Ports: []v1alpha1.Port{{Protocol: "UDP", Port: 53}},
					Pods: &v1alpha1.PodSelector{Namespace: "kube-system", Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"a": "b"}}},
				}}
			}
			policies := compile(policy("p", append([]edit{runsAsPods}, test.edits...)...))
			render := func(s state.Snapshot) plan.Network { return plan.NetworkPolicies(&policies[0], policies, s) }
			if test.held == "" {
				g.Expect(render(snapshot)).To(And(HaveField("Held", BeEmpty()), HaveField("Objects", HaveLen(1))))
			} else {
				g.Expect(render(snapshot)).To(And(HaveField("Objects", BeEmpty()), HaveField("Held", ConsistOf(And(
					HaveField("Component", "dns"), HaveField("Reason", v1alpha1.ReasonNetworkPolicyNotEnforced), HaveField("Why", ContainSubstring(test.held)))))))
			}
			snapshot.Facts.ConfigMaps = map[types.NamespacedName]map[string]string{
				{Namespace: "kube-system", Name: "cilium-config"}: {"policy-cidr-match-mode": "nodes"},
			}
			g.Expect(render(snapshot)).To(And(HaveField("Held", BeEmpty()), HaveField("Objects", HaveLen(1))), "with Cilium's setting for CIDRs of nodes")
			policies[0].Spec.Profile.CNI = "calico"
			snapshot.Facts.ConfigMaps = nil
			g.Expect(render(snapshot)).To(And(HaveField("Held", BeEmpty()), HaveField("Objects", HaveLen(1))), "with Calico")
		})
	}
}

func TestWarningsOnNetworkPolicies(t *testing.T) {
	for said, want := range map[v1alpha1.NetworkPolicies]profile.Support{
		"": profile.Never, v1alpha1.NetworkPoliciesAuto: profile.Never,
		v1alpha1.NetworkPoliciesEnforced: profile.Always, v1alpha1.NetworkPoliciesNotEnforced: profile.Never,
	} {
		policies := compile(policy("p", func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile = v1alpha1.Profile{CNI: "flannel", NetworkPolicies: said}
			p.Spec.Network = &v1alpha1.NetworkSpec{}
			p.Spec.Network.Components = []v1alpha1.Component{{Name: "dns", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RolePods}},
				Ports: []v1alpha1.Port{{Protocol: "UDP", Port: 53}}, Pods: &v1alpha1.PodSelector{Namespace: "x", Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"a": "b"}}}}}
		}))
		network := plan.NetworkPolicies(&policies[0], policies, machines(machine("cp-1", "10.0.0.1")))
		NewWithT(t).Expect(network.Enforcement.Enforced).To(Equal(want), string(said))
	}
}

// While Calico's pools cannot be read, the operator does not report that there are no pools.
func TestPoolsThatCannotBeReadAreNotMissing(t *testing.T) {
	g := NewWithT(t)
	apiServer := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Peers = []v1alpha1.Peer{{Name: "admins", Role: v1alpha1.ExternalAdmin, CIDRs: []v1alpha1.CIDR{"10.9.0.0/16"}}}
		p.Spec.Network.Components = []v1alpha1.Component{{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}}}
	}
	policies := compile(policy("p", etcd, apiServer))
	snapshot := machines(machine("cp-1", "10.0.0.1"))
	hosts := plan.HostProtection(&policies[0], policies, snapshot)
	g.Expect(hosts.Held).To(ConsistOf(HaveField("Reason", v1alpha1.ReasonAddressesUnknown)))
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Problem = "does not answer" })
	hosts = plan.HostProtection(&policies[0], policies, snapshot)
	g.Expect(hosts.Held).To(BeEmpty())
	g.Expect(hosts.Unprotected).To(HaveField("Reason", v1alpha1.ReasonCalicoUnavailable))
	g.Expect(hosts.Objects).To(BeEmpty())
}
