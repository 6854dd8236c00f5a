// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// everything is one of each kind that the operator made for dns.
func everything(g Gomega) state.Calico {
	ours := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelPolicy: "dns", calico.LabelVersion: "old"}}
	}
	allow, deny := allowing("a-allow", "10.0.0.1/32"), allowing("z-deny")
	allow.Labels[calico.LabelVersion], deny.Labels[calico.LabelVersion] = "old", "old"
	return state.Calico{
		Mode:     state.CalicoNative,
		Tiers:    []v3.Tier{*stampedAs(g, &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: calico.TierName}})},
		Sets:     []v3.GlobalNetworkSet{*stampedAs(g, setOf("nodes-0", "10.0.0.1/32"))},
		Policies: []v3.GlobalNetworkPolicy{*stampedAs(g, allow), *stampedAs(g, deny)},
		Endpoints: []v3.HostEndpoint{*stampedAs(g, &v3.HostEndpoint{
			ObjectMeta: ours("cpnp-cp-1"), Spec: v3.HostEndpointSpec{Node: "cp-1", InterfaceName: "*"},
		})},
		Felix: []v3.FelixConfiguration{*stampedAs(g, &v3.FelixConfiguration{ObjectMeta: ours("node.cp-1")})},
	}
}

func TestWhatIsRemovedGoesInTheReverseOrderOfTheWrites(t *testing.T) {
	g := NewWithT(t)
	policies := compile(policy("dns"))
	removals := func(hosts plan.Hosts) []string {
		return steps(g, drift.Hosts(&policies[0], policies, hosts, everything(g)).Removals)
	}
	all := removals(plan.Hosts{})
	g.Expect(all[:4]).To(Equal([]string{"delete node.cp-1", "delete cpnp-cp-1", "delete cpnp.dns-z-deny", "delete cpnp.dns-a-allow"}),
		"failsafe ports are widened first, and what denies goes before what allows")
	g.Expect(all[4:]).To(ConsistOf("delete cpnp-dns-nodes-0", "delete cpnp"))

	older := plan.Hosts{
		Objects: []plan.Object{&v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: calico.TierName}}},
		Older:   map[string]bool{"old": true},
		Calico:  calico.Hosts{Nodes: []calico.Node{{Name: "cp-1", Older: "old"}}},
	}
	g.Expect(removals(older)).To(Equal([]string{"delete cpnp-cp-1"}), "what older rules need stays, but no endpoint that is not called for")
	g.Expect(removals(plan.Hosts{Held: []plan.Held{{Component: "on hosts"}}})).To(BeEmpty(), "while nothing can be rendered")
}
