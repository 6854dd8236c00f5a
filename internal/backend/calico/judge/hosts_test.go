// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// situation has protected hosts, and foreign Calico objects beside the rendered objects.
type situation struct {
	hosts backend.Hosts
	// foreign are the foreign endpoints under the names of managed endpoints.
	foreign map[string]string
	there   calico.Live
	// live changes the rendered objects before the checks find them in the cluster.
	live func(*calico.Live)
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func traffic(texts ...string) []profile.Traffic {
	var out []profile.Traffic
	for _, text := range texts {
		t, err := profile.ParseTraffic(text)
		if err != nil {
			panic(err)
		}
		out = append(out, t)
	}
	return out
}

func node(name string, addresses ...string) backend.Node {
	n := backend.Node{Name: name}
	for _, address := range addresses {
		n.Addresses = append(n.Addresses, netip.MustParseAddr(address))
	}
	return n
}

// kubelet returns hosts with protection of cp-1 and cp-2. The port of the
// kubelet is not a failsafe port, and open to 10.77.0.0/24.
func kubelet(edits ...func(*backend.Hosts)) backend.Hosts {
	hosts := backend.Hosts{
		Policy: "p", Nodes: []backend.Node{node("cp-1", "10.77.0.11"), node("cp-2", "10.77.0.12")},
		Components: []backend.Component{{Name: "kubelet", Ports: traffic("tcp/10250"), From: []backend.Source{{Prefixes: prefixes("10.77.0.0/24")}}}},
	}
	for _, edit := range edits {
		edit(&hosts)
	}
	return hosts
}

// etcd adds a component with failsafe ports.
func etcd(h *backend.Hosts) {
	h.Components = append(h.Components, backend.Component{
		Name: "etcd", Ports: traffic("tcp/2379-2380"), From: []backend.Source{{Prefixes: prefixes("10.77.0.0/24")}},
	})
}

func scope(h *backend.Hosts)        { h.ScopeFailsafes = true }
func denyUnlisted(h *backend.Hosts) { h.DenyUnlisted = true }

func onInterface(iface, address string) func(*backend.Hosts) {
	return func(h *backend.Hosts) {
		last := &h.Components[len(h.Components)-1]
		last.Interface = iface
		if address != "" {
			last.Address = netip.MustParsePrefix(address)
		}
	}
}

// judge renders the hosts, adds the foreign objects, and returns the verdict.
func (s situation) judge(t *testing.T) verify.Verdict {
	t.Helper()
	for i := range s.hosts.Nodes {
		s.hosts.Nodes[i].Foreign = s.foreign[s.hosts.Nodes[i].Name] != ""
	}
	s.hosts = calico.WithRulesets(s.hosts)
	objects, err := calico.Render(s.hosts)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	hosts := plan.Hosts{Declared: true, Now: s.hosts, Whole: s.hosts, Foreign: s.foreign}
	var live calico.Live
	for _, object := range objects {
		hosts.Objects = append(hosts.Objects, object)
		switch o := object.(type) {
		case *v3.Tier:
			live.Tiers = append(live.Tiers, *o.DeepCopy())
		case *v3.GlobalNetworkPolicy:
			live.Policies = append(live.Policies, *o.DeepCopy())
		case *v3.HostEndpoint:
			live.Endpoints = append(live.Endpoints, *o.DeepCopy())
		case *v3.FelixConfiguration:
			live.Felix = append(live.Felix, *o.DeepCopy())
		}
	}
	if s.live != nil {
		s.live(&live)
	}
	live.Tiers = append(live.Tiers, s.there.Tiers...)
	live.Policies = append(live.Policies, s.there.Policies...)
	live.Endpoints = append(live.Endpoints, s.there.Endpoints...)
	live.Felix = append(live.Felix, s.there.Felix...)
	return judge.HostsEffective(hosts, live)
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

// effective is the verdict without findings on the two nodes.
var effective = verify.Verdict{
	Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "Nothing bypasses the restrictions on 2 nodes",
}

func check(t *testing.T, tests map[string]struct {
	situation
	want verify.Verdict
}) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.judge(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheGravestFindingIsTheReasonAndTheRestIsNamed(t *testing.T) {
	NewWithT(t).Expect(situation{hosts: kubelet()}.judge(t)).To(Equal(effective))

	one := kubelet()
	one.Nodes = one.Nodes[:1]
	NewWithT(t).Expect(situation{hosts: one}.judge(t).Message).To(Equal("Nothing bypasses the restrictions on 1 node"))

	off := false
	got := situation{
		hosts: kubelet(etcd, onInterface("eth1", ""), func(h *backend.Hosts) { h.Nodes[0] = node("cp-1", "10.77.0.11", "fd77::11") }),
		there: calico.Live{
			Endpoints: []v3.HostEndpoint{endpoint("theirs", "cp-1", "eth0")},
			Felix:     []v3.FelixConfiguration{felix("default", v3.FelixConfigurationSpec{IPv6Support: &off})},
		},
		live: func(c *calico.Live) {
			for i := range c.Endpoints {
				c.Endpoints[i].Spec.ExpectedIPs = nil
			}
		},
	}.judge(t)
	NewWithT(t).Expect(got.Holds).To(BeFalse())
	NewWithT(t).Expect(got.Reason).To(Equal(v1alpha1.ReasonForeignHostEndpoint))
	NewWithT(t).Expect(got.Message).To(HaveSuffix("; also found: FailsafePorts, BypassPossible, AddressesUnknown"))
}
