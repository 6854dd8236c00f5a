// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

func tcp(port uint16) profile.Traffic {
	return profile.Traffic{Protocol: profile.TCP, First: port, Last: port}
}

// threeNodes are the control-plane nodes cp-1 and cp-2, and a worker.
func threeNodes() []*corev1.Node {
	var nodes []*corev1.Node
	for _, address := range []string{"10.0.0.11", "10.0.0.12", "10.0.0.21"} {
		nodes = append(nodes, &corev1.Node{
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
		})
	}
	return nodes
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// exposedHosts protects cp-1 and cp-2: nodes may reach the API server, the control
// plane may reach etcd, and a single other address may reach the scheduler.
func exposedHosts(edits ...func(*backend.Hosts)) plan.Hosts {
	hosts := backend.Hosts{
		Nodes: []backend.Node{
			{Name: "cp-1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.11")}},
			{Name: "cp-2", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.12")}},
		},
		Sets: []backend.Set{
			{Name: backend.SetNodes, Members: map[string][]netip.Prefix{
				"cp-1": {prefix("10.0.0.11/32")}, "cp-2": {prefix("10.0.0.12/32")}, "worker-1": {prefix("10.0.0.21/32")},
			}},
			{Name: backend.SetControlPlane, Members: map[string][]netip.Prefix{"cp-1": {prefix("10.0.0.11/32")}, "cp-2": {prefix("10.0.0.12/32")}}},
		},
		Components: []backend.Component{
			{Name: "apiServer", Ports: []profile.Traffic{tcp(6443)}, From: []backend.Source{{Prefixes: []netip.Prefix{prefix("10.9.0.0/16")}}}},
			{Name: "etcd", Ports: []profile.Traffic{{Protocol: profile.TCP, First: 2379, Last: 2380}}, From: []backend.Source{{Set: backend.SetControlPlane}}},
			{Name: "scheduler", Ports: []profile.Traffic{tcp(10259)}, From: []backend.Source{{Prefixes: []netip.Prefix{prefix("10.9.0.0/16")}}}},
			{Name: "public", Ports: []profile.Traffic{tcp(8080)}, From: []backend.Source{{}}},
		},
		Required: []backend.Flow{{Name: "nodes to the API server", From: []backend.Source{{Set: backend.SetNodes}}, Traffic: []profile.Traffic{tcp(6443)}}},
		Servers:  []netip.Addr{netip.MustParseAddr("172.16.0.9")},
	}
	for _, edit := range edits {
		edit(&hosts)
	}
	return plan.Hosts{Declared: true, Whole: hosts, Now: hosts}
}

// nodePort is the Service ops/door, which sends traffic to a port of addresses.
func nodePort(port uint16, addresses ...string) state.Exposed {
	one := state.Exposed{NamespacedName: types.NamespacedName{Namespace: "ops", Name: "door"}}
	backends := state.Backends{Ports: []profile.Traffic{tcp(port)}}
	for _, address := range addresses {
		backends.Addresses = append(backends.Addresses, netip.MustParseAddr(address))
	}
	one.Backends = []state.Backends{backends}
	return one
}

func keeping(s state.Exposed) state.Exposed {
	s.KeepsClients = true
	return s
}

func unlistedDenied(h *backend.Hosts) {
	h.DenyUnlisted = true
	h.Listed = []backend.Flow{
		{Name: "control plane to kubelets", From: []backend.Source{{Set: backend.SetControlPlane}}, Traffic: []profile.Traffic{tcp(10250)}},
		{Name: "anybody to the web", From: []backend.Source{{}}, Traffic: []profile.Traffic{tcp(443)}},
	}
}

func addressed(network, iface string) func(*backend.Hosts) {
	return func(h *backend.Hosts) {
		h.Components[1].Interface = iface
		if network != "" {
			h.Components[1].Address = prefix(network)
		}
	}
}

func TestServicesInFrontOfComponentsOnNodesAreNamed(t *testing.T) {
	effective := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "Nothing evades"}
	tests := map[string]struct {
		hosts   plan.Hosts
		nodes   []*corev1.Node
		service state.Exposed
		tells   string // empty for no bypass
	}{
		"the API server, which every node may reach":                       {exposedHosts(), threeNodes(), nodePort(6443, "10.0.0.11", "10.0.0.12"), "ops/door to component apiServer (tcp/6443)"},
		"the API server on an address that no node shows":                  {exposedHosts(), threeNodes(), nodePort(6443, "172.16.0.9"), "component apiServer"},
		"etcd, which the control plane may reach":                          {exposedHosts(), threeNodes(), nodePort(2380, "10.0.0.11"), "component etcd (tcp/2380)"},
		"the scheduler, which no node may reach":                           {exposedHosts(), threeNodes(), nodePort(10259, "10.0.0.11"), ""},
		"a component that everybody may reach":                             {exposedHosts(), threeNodes(), nodePort(8080, "10.0.0.11"), ""},
		"another port":                                                     {exposedHosts(), threeNodes(), nodePort(22, "10.0.0.11"), ""},
		"an unprotected node":                                              {exposedHosts(), threeNodes(), nodePort(6443, "10.0.0.21"), ""},
		"pods":                                                             {exposedHosts(), threeNodes(), nodePort(6443, "192.168.3.7"), ""},
		"an endpoint among pods":                                           {exposedHosts(), threeNodes(), nodePort(6443, "192.168.3.7", "10.0.0.12"), "component apiServer"},
		"a Service that keeps the client's address":                        {exposedHosts(), threeNodes(), keeping(nodePort(6443, "10.0.0.11")), ""},
		"no endpoints":                                                     {exposedHosts(), threeNodes(), nodePort(6443), ""},
		"a single node, which sees the client's address":                   {exposedHosts(), threeNodes()[:1], nodePort(6443, "10.0.0.11"), ""},
		"no components on nodes":                                           {plan.Hosts{}, threeNodes(), nodePort(6443, "10.0.0.11"), ""},
		"etcd in a network of its own, at its address":                     {exposedHosts(addressed("10.78.0.0/24", "eth1")), threeNodes(), nodePort(2379, "10.78.0.11"), "component etcd"},
		"etcd in a network of its own, at another address":                 {exposedHosts(addressed("10.78.0.0/24", "eth1")), threeNodes(), nodePort(2379, "10.0.0.11"), ""},
		"etcd on an interface whose addresses are unknown":                 {exposedHosts(addressed("", "eth1")), threeNodes(), nodePort(2379, "10.0.0.11"), ""},
		"the kubelet, where unlisted flows are denied":                     {exposedHosts(unlistedDenied), threeNodes(), nodePort(10250, "10.0.0.11"), "control plane to kubelets (tcp/10250)"},
		"the kubelet, where unlisted flows pass":                           {exposedHosts(), threeNodes(), nodePort(10250, "10.0.0.11"), ""},
		"a port that everybody may reach, where unlisted flows are denied": {exposedHosts(unlistedDenied), threeNodes(), nodePort(443, "10.0.0.11"), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			is := verify.AddServiceBypasses(effective, test.hosts, plan.Network{}, test.nodes, []state.Exposed{test.service})
			if test.tells == "" {
				g.Expect(is).To(Equal(effective))
				return
			}
			g.Expect(is.Holds).To(BeFalse())
			g.Expect(is.Reason).To(Equal(v1alpha1.ReasonForeignService))
			g.Expect(is.Message).To(And(ContainSubstring(test.tells), ContainSubstring("ClusterIP")))
		})
	}
}

// etcdPods is the NetworkPolicy of a component in pods, which addresses may reach.
func etcdPods(cidrs ...string) plan.Network {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: "cpnp.p.etcd", Labels: map[string]string{v1alpha1.LabelComponent: "etcd"}},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "etcd"}}},
	}
	rule := networkingv1.NetworkPolicyIngressRule{
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt32(2379)), EndPort: ptr.To(int32(2380))}},
		From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
	}
	for _, cidr := range cidrs {
		rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr}})
	}
	policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{rule}
	return plan.Network{Objects: []*networkingv1.NetworkPolicy{policy}}
}

func behind(s state.Exposed, namespace string, selector labels.Set) state.Exposed {
	s.Namespace, s.Selector = namespace, selector
	return s
}

func TestServicesInFrontOfComponentsThatArePodsAreNamed(t *testing.T) {
	pods, pod := labels.Set{"app": "etcd", "tier": "db"}, "192.168.3.7"
	effective := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "No pod evades"}
	tests := map[string]struct {
		network plan.Network
		nodes   []*corev1.Node
		service state.Exposed
		named   bool
	}{
		"nodes may connect":                              {etcdPods("10.0.0.21/32"), threeNodes(), behind(nodePort(2380, pod), "ops", pods), true},
		"a network with nodes may connect":               {etcdPods("10.0.0.0/8"), threeNodes(), behind(nodePort(2379, pod), "ops", pods), true},
		"no node may connect":                            {etcdPods("10.9.0.0/16"), threeNodes(), behind(nodePort(2379, pod), "ops", pods), false},
		"only pods may connect":                          {etcdPods(), threeNodes(), behind(nodePort(2379, pod), "ops", pods), false},
		"a port that no peer may reach":                  {etcdPods("10.0.0.21/32"), threeNodes(), behind(nodePort(2381, pod), "ops", pods), false},
		"a Service that keeps the client's address":      {etcdPods("10.0.0.21/32"), threeNodes(), keeping(behind(nodePort(2379, pod), "ops", pods)), false},
		"other pods":                                     {etcdPods("10.0.0.21/32"), threeNodes(), behind(nodePort(2379, pod), "ops", labels.Set{"tier": "db"}), false},
		"pods with the same labels in another namespace": {etcdPods("10.0.0.21/32"), threeNodes(), behind(nodePort(2379, pod), "shop", pods), false},
		"a Service without selector":                     {etcdPods("10.0.0.21/32"), threeNodes(), nodePort(2379, pod), false},
		"a single node, which sees the client's address": {etcdPods("10.0.0.0/8"), threeNodes()[:1], behind(nodePort(2379, pod), "ops", pods), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			is := verify.AddServiceBypasses(effective, plan.Hosts{}, test.network, test.nodes, []state.Exposed{test.service})
			if !test.named {
				g.Expect(is).To(Equal(effective))
				return
			}
			g.Expect(is.Reason).To(Equal(v1alpha1.ReasonForeignService))
			g.Expect(is.Message).To(ContainSubstring("ops/door to component etcd"))
		})
	}
}

func TestExternalIPsAreReportedAndTakenOverAddressesAreWorse(t *testing.T) {
	effective := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "Nothing evades"}
	with := func(port uint16, address string) state.Exposed {
		s := nodePort(80, "192.168.3.7")
		s.ExternalIPs, s.Ports = []netip.Addr{netip.MustParseAddr(address)}, []profile.Traffic{tcp(port)}
		return s
	}
	g := NewWithT(t)
	is := verify.AddServiceBypasses(effective, exposedHosts(), plan.Network{}, threeNodes(), []state.Exposed{with(80, "203.0.113.5")})
	g.Expect(is.Holds).To(BeTrue(), "an exposed component is a finding, but no hole by itself")
	g.Expect(is.Reason).To(Equal(v1alpha1.ReasonAsDeclared))
	g.Expect(is.Message).To(And(HavePrefix("Nothing evades. Note that "), ContainSubstring("ops/door"), ContainSubstring("DenyServiceExternalIPs")))

	is = verify.AddServiceBypasses(effective, exposedHosts(), plan.Network{}, threeNodes(), []state.Exposed{with(6443, "10.0.0.11")})
	g.Expect(is.Reason).To(Equal(v1alpha1.ReasonForeignService))
	g.Expect(is.Message).To(And(ContainSubstring("ops/door (10.0.0.11, the address of component apiServer (tcp/6443))"), ContainSubstring("Note that")))

	is = verify.AddServiceBypasses(effective, exposedHosts(), plan.Network{}, threeNodes(), []state.Exposed{with(80, "10.0.0.11")})
	g.Expect(is.Holds).To(BeTrue(), "another port of the node")
}

func TestABypassIsReportedBesideAGraverFinding(t *testing.T) {
	g := NewWithT(t)
	graver := verify.Verdict{Reason: v1alpha1.ReasonFailsafePorts, Message: "Failsafe ports leave etcd open"}
	var services []state.Exposed
	for i := range 200 {
		s := nodePort(6443, "10.0.0.11")
		s.Name = fmt.Sprintf("door-%03d-%s", i, strings.Repeat("x", 40))
		services = append(services, s)
	}
	is := verify.AddServiceBypasses(graver, exposedHosts(), plan.Network{}, threeNodes(), services)
	g.Expect(is.Reason).To(Equal(v1alpha1.ReasonFailsafePorts))
	g.Expect(is.Message).To(And(HavePrefix(graver.Message), ContainSubstring("ForeignService: "), ContainSubstring("ops/door-000"), ContainSubstring("and 197 more")))
	g.Expect(len(is.Message)).To(BeNumerically("<", 1024))

	unknown := verify.Verdict{Unknown: true, Reason: v1alpha1.ReasonNotJudged, Message: "It cannot be read"}
	is = verify.AddServiceBypasses(unknown, exposedHosts(), plan.Network{}, threeNodes(), services[:1])
	g.Expect(is.Unknown).To(BeFalse(), "the bypass is certain")
	g.Expect(is.Reason).To(Equal(v1alpha1.ReasonForeignService))
	g.Expect(is.Message).To(HaveSuffix("NotJudged: It cannot be read"))
	g.Expect(verify.AddServiceBypasses(unknown, exposedHosts(), plan.Network{}, threeNodes(), nil)).To(Equal(unknown))
}
