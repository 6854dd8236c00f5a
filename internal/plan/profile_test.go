// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// What is wrong in spec.profile, and the API server can not tell, is told; nothing
// is rendered meanwhile.
func TestWhatIsWrongInAProfileIsTold(t *testing.T) {
	port := func(n int32) []v1alpha1.Port { return []v1alpha1.Port{{Protocol: "TCP", Port: n}} }
	component := func(name string, n int32) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile.Components = append(p.Spec.Profile.Components, v1alpha1.ProfileComponent{Name: name, Ports: port(n)})
		}
	}
	flow := func(name, component string, traffic ...v1alpha1.Traffic) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile.Flows = append(p.Spec.Profile.Flows, v1alpha1.ProfileFlow{
				Name: name, From: []v1alpha1.FlowRole{"Nodes"}, To: "ControlPlane", Component: component, Traffic: traffic,
			})
		}
	}
	etcdPorts := func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Network.Components[0].Ports = port(12379) }
	for name, test := range map[string]struct {
		edits []edit
		want  string // empty if nothing is wrong
	}{
		"Nothing": {},
		"Ports of a component that is restricted":    {edits: []edit{component("etcd", 12379)}},
		"Ports of one that is not":                   {edits: []edit{component("kube-proxy", 20256)}},
		"Traffic of every kind":                      {edits: []edit{flow("more", "", "all", "tcp", "udp/1-9", "icmp/3/4", "icmpv6/1", "ip/112")}},
		"A component that the profile does not have": {edits: []edit{component("etcdd", 1)}, want: "component etcdd: there is none of this name: write calico-"},
		"Ports of the API server":                    {edits: []edit{component("kube-apiserver", 1)}, want: "EndpointSlice of the Service default/kubernetes"},
		"Node ports as a component":                  {edits: []edit{component("node-ports", 1)}, want: "set the range of node ports instead"},
		"Ports in two places": {
			edits: []edit{component("etcd", 1), etcdPorts},
			want:  "the ports of etcd are in spec.network.components, and as etcd in spec.profile.components: take one of them out",
		},
		"A port of another component":             {edits: []edit{component("kube-proxy", 2379)}, want: "share a port"},
		"A flow that the profile has":             {edits: []edit{flow("ssh", "", "tcp/22")}, want: "added flow ssh: the profile has a flow of this name: choose another name"},
		"A flow of a component that there is not": {edits: []edit{flow("more", "etcdd")}, want: "flow more: there is no component etcdd: write"},
		"A port that there is not":                {edits: []edit{flow("more", "", "tcp/65536")}, want: `spec.profile.flows, more: traffic: "tcp/65536" is no traffic: write`},
		"A range that ends before it begins":      {edits: []edit{flow("more", "", "tcp/9-1")}, want: "is no traffic: write"},
		"A protocol that has a name":              {edits: []edit{flow("more", "", "ip/6")}, want: `"ip/6" has a name of its own: write tcp`},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			policies := compile(policy("p", append([]edit{etcd}, test.edits...)...))
			hosts := plan.HostProtection(&policies[0], policies, machines(machine("cp-1", "10.0.0.1")))
			if test.want == "" {
				g.Expect(hosts.Held).To(BeEmpty())
				g.Expect(hosts.WholeObjects).NotTo(BeEmpty())
				return
			}
			g.Expect(hosts.Held).To(ConsistOf(And(
				HaveField("Reason", v1alpha1.ReasonProfileUnknown), HaveField("Why", ContainSubstring(test.want)))))
			g.Expect(hosts.WholeObjects).To(BeEmpty())
		})
	}
}
