// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// hosts returns host protection of one node that can be rendered.
func hosts() backend.Hosts {
	return backend.Hosts{
		Policy: "control-plane",
		Nodes:  []backend.Node{{Name: "cp-1", Addresses: []netip.Addr{netip.MustParseAddr("10.77.0.11")}}},
		Sets:   []backend.Set{{Name: "nodes", Members: nodes(1)}},
		Components: []backend.Component{{
			Name: "etcd", Ports: []profile.Traffic{{Protocol: profile.TCP, First: 2379, Last: 2380}}, From: []backend.Source{{Set: "nodes"}},
		}},
		ScopeFailsafes: true,
	}
}

func nodes(count int) map[string][]netip.Prefix {
	members := map[string][]netip.Prefix{}
	for i := range count {
		address := netip.AddrFrom4([4]byte{10, 78, byte(i / 256), byte(i % 256)})
		members[fmt.Sprintf("node-%d", i)] = []netip.Prefix{netip.PrefixFrom(address, 32)}
	}
	return members
}

func TestRulesThatAllowNobodyOrDenyEverythingAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*backend.Hosts)
		says   string
	}{
		"a component without ports":   {func(h *backend.Hosts) { h.Components[0].Ports = nil }, "list its ports"},
		"a component without sources": {func(h *backend.Hosts) { h.Components[0].From = nil }, "allows nobody"},
		"a set without members":       {func(h *backend.Hosts) { h.Sets[0].Members = nil }, "nodes stands for no address"},
		"a set that does not exist":   {func(h *backend.Hosts) { h.Components[0].From[0].Set = "pods" }, "pods stands for no address"},
		"a required flow without a sender": {func(h *backend.Hosts) {
			h.Required = []backend.Flow{{Name: "apiserver", From: []backend.Source{{Set: "pods"}}}}
		}, "required flow apiserver"},
		"a node without an address": {func(h *backend.Hosts) { h.Nodes[0].Addresses = nil }, "node cp-1 has no address"},
	} {
		t.Run(name, func(t *testing.T) {
			input := hosts()
			c.change(&input)
			_, err := calico.Render(calico.WithRulesets(input))
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(c.says)))
		})
	}
}

// Felix takes objects in the order of the writes: allowing policies must exist
// before denying ones, and both before the endpoint that they select.
func TestAllowingPoliciesAreWrittenBeforeDenyingOnes(t *testing.T) {
	g := NewWithT(t)
	objects, err := calico.Render(calico.WithRulesets(hosts()))
	g.Expect(err).NotTo(HaveOccurred())
	stage := 0
	for _, object := range objects {
		next := map[bool]int{true: 4, false: 3}
		now := 0
		switch o := object.(type) {
		case *v3.Tier:
			now = 1
		case *v3.GlobalNetworkSet:
			now = 2
		case *v3.GlobalNetworkPolicy:
			now = next[o.Spec.Ingress[0].Action == v3.Deny]
		case *v3.HostEndpoint:
			now = 5
		case *v3.FelixConfiguration:
			now = 6
		}
		g.Expect(now).To(BeNumerically(">=", max(stage, 1)), object.GetName())
		stage = now
	}
	g.Expect(stage).To(Equal(6))
}

// A node that joins rewrites one small object.
func TestANodeThatJoinsChangesOneSet(t *testing.T) {
	g := NewWithT(t)
	for _, count := range []int{100, 1000, 5000} {
		before, after := sets(t, count), sets(t, count+1)
		changed := 0
		for name, nets := range after {
			g.Expect(len(nets)).To(BeNumerically("<", 150), "%s of %d nodes", name, count)
			if len(before[name]) != len(nets) {
				changed++
			}
		}
		g.Expect(changed).To(Equal(1), "of %d nodes", count)
	}
}

func sets(t *testing.T, count int) map[string][]string {
	t.Helper()
	input := hosts()
	input.Sets[0].Members = nodes(count)
	objects, err := calico.Render(calico.WithRulesets(input))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	out := map[string][]string{}
	total := 0
	for _, object := range objects {
		if set, ok := object.(*v3.GlobalNetworkSet); ok {
			out[set.Name] = set.Spec.Nets
			total += len(set.Spec.Nets)
		}
	}
	NewWithT(t).Expect(total).To(Equal(count))
	return out
}

// A failsafe port that everybody may use stays open.
func TestFailsafePortsAreScopedOnlyToBoundedSources(t *testing.T) {
	anybody := func(traffic profile.Traffic) func(*backend.Hosts) {
		return func(h *backend.Hosts) {
			h.Required = append(h.Required, backend.Flow{Name: "anybody", From: []backend.Source{{}}, Traffic: []profile.Traffic{traffic}})
		}
	}
	for name, test := range map[string]struct {
		change func(*backend.Hosts)
		narrow bool
	}{
		"all peers are known":                                   {func(*backend.Hosts) {}, true},
		"everybody may reach the component":                     {func(h *backend.Hosts) { h.Components[0].From = []backend.Source{{}} }, false},
		"everybody may reach a range with the component's port": {anybody(profile.Traffic{Protocol: profile.TCP, First: 1, Last: 9999}), false},
		"everybody may reach every port":                        {anybody(profile.Traffic{Protocol: profile.TCP}), false},
		"everybody may send everything":                         {anybody(profile.Traffic{}), false},
		"everybody may reach every port of another protocol":    {anybody(profile.Traffic{Protocol: profile.UDP}), true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			input := hosts()
			test.change(&input)
			objects, err := calico.Render(calico.WithRulesets(input))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(slices.ContainsFunc(objects, func(o backend.Object) bool {
				_, felix := o.(*v3.FelixConfiguration)
				return felix
			})).To(Equal(test.narrow))
		})
	}
}

// Only the operator's field of a Felix configuration is written: a newer Calico has
// fields that these types do not know, and that a write of the whole object would remove.
func TestOnlyTheFailsafePortsOfAFelixConfigurationAreWritten(t *testing.T) {
	g := NewWithT(t)
	objects, err := calico.Render(calico.WithRulesets(hosts()))
	g.Expect(err).NotTo(HaveOccurred())
	content, err := calico.WrittenContent(objects[len(objects)-1])
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(content["kind"]).To(Equal("FelixConfiguration"))
	g.Expect(content["spec"]).To(HaveLen(1))
	g.Expect(content["spec"]).To(HaveKey("failsafeInboundHostPorts"))
}

func TestEveryInterfaceHasAnEndpointWithAValidName(t *testing.T) {
	g := NewWithT(t)
	names := map[string]bool{}
	for _, iface := range []string{"", "eth1", "Eth1", "br_ctl", "br-ctl", "bond0.100", "bond0-100"} {
		name := calico.EndpointName("cp-1.example.org", iface)
		g.Expect(validation.IsDNS1123Subdomain(name)).To(BeEmpty(), name)
		names[name] = true
	}
	g.Expect(names).To(HaveLen(7))
	g.Expect(names).To(HaveKey("cpnp-cp-1.example.org-eth1"))
}

// Each network that a failsafe port is scoped to is a rule of its own.
func TestFailsafePortsAreNotScopedToThousandsOfNodes(t *testing.T) {
	g := NewWithT(t)
	input := hosts()
	input.Sets[0].Members = nodes(5000)
	for name := range input.Sets[0].Members { // no two networks are neighbours
		address := input.Sets[0].Members[name][0].Addr().As4()
		address[3], address[1] = address[3]*2, 80+address[3]/128
		input.Sets[0].Members[name] = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4(address), 32)}
	}
	admins := netip.MustParsePrefix("10.9.0.0/16")
	input.Components[0].From = append(input.Components[0].From, backend.Source{Prefixes: []netip.Prefix{admins}})
	objects, err := calico.Render(calico.WithRulesets(input))
	g.Expect(err).NotTo(HaveOccurred())
	ports := *objects[len(objects)-1].(*v3.FelixConfiguration).Spec.FailsafeInboundHostPorts
	var etcd []string
	for _, port := range ports {
		if port.Port == 2379 {
			etcd = append(etcd, port.Net)
		}
	}
	g.Expect(etcd).To(ConsistOf("10.9.0.0/16", "10.77.0.11/32"))
}

// The longest names of nodes and interfaces still make distinct names of objects.
func TestObjectNamesForLongNodeNames(t *testing.T) {
	g := NewWithT(t)
	long := strings.Repeat("n", 252)
	seen := map[string]bool{}
	for _, node := range []string{long + "1", long + "2"} {
		for _, iface := range []string{"", "eth1", "fifteen-letters", "Not_A_Label"} {
			name := calico.EndpointName(node, iface)
			g.Expect(validation.IsDNS1123Subdomain(name)).To(BeEmpty(), name)
			g.Expect(seen).NotTo(HaveKey(name))
			seen[name] = true
			g.Expect(calico.IsManagedEndpoint(&v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.HostEndpointSpec{Node: node}})).To(BeTrue())
		}
		g.Expect(calico.CanScopeFailsafes(node)).To(BeFalse())
	}
	g.Expect(calico.EndpointName("cp-1", "eth1")).To(Equal("cpnp-cp-1-eth1"))
	g.Expect(calico.CanScopeFailsafes(long[:248])).To(BeTrue())
}
