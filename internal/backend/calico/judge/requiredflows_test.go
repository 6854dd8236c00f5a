// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"net/netip"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// etcdOnly is a cluster of four nodes, and a policy that restricts only etcd, on the nodes with a label.
func etcdOnly(selected v1alpha1.LabelSelector) (plan.Hosts, []dataplane.Node) {
	snapshot := state.Snapshot{Backend: calico.Live{Mode: calico.Native}}
	snapshot.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("10.77.0.11:6443")}
	var nodes []dataplane.Node
	for _, machine := range [][2]string{{"cp-1", "10.77.0.11"}, {"cp-2", "10.77.0.12"}, {"cp-3", "10.77.0.13"}, {"worker-1", "10.77.0.21"}} {
		name, address := machine[0], machine[1]
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node": name}}}
		if name != "worker-1" {
			n.Labels["node-role.kubernetes.io/control-plane"] = ""
		}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		snapshot.Nodes = append(snapshot.Nodes, n)
		nodes = append(nodes, dataplane.Node{Name: name, Addresses: state.NodeAddresses(n)})
	}
	policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			NodeSelector: selected,
			Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico"},
			Network: &v1alpha1.NetworkSpec{
				HostBackend: v1alpha1.HostBackendCalico, Failsafe: v1alpha1.FailsafeScope, Unlisted: v1alpha1.UnlistedPass,
				Components: []v1alpha1.Component{{Name: "etcd", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}}},
			},
		},
	}})
	return plan.HostProtection(&policies[0], policies, snapshot), nodes
}

var everyControlPlaneNode = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}}

// A managed endpoint puts the whole host under all foreign policies, in both directions. So the operator's
// write is the cause of a cut by a foreign policy, even where the operator's policy restricts no traffic.
func TestUnrestrictedRequiredFlowsAreJudgedToo(t *testing.T) {
	out := func(p *v3.GlobalNetworkPolicy) {
		p.Spec.Types, p.Spec.Egress, p.Spec.Ingress = []v3.PolicyType{v3.PolicyTypeEgress}, p.Spec.Ingress, nil
	}
	all := selecting("all()")
	for name, test := range map[string]struct {
		theirs v3.GlobalNetworkPolicy
		want   string
	}{
		"Typha, from nodes": {
			policyIn("early", v3.Deny, all, ports("5473")),
			"calico-typha: tcp/5473 from ",
		},
		"a kubelet on a protected node": {
			policyIn("early", v3.Deny, all, ports("10250"), sources("10.77.0.12/32")),
			"kubelet-from-control-plane: tcp/10250 from 10.77.0.12 to 10.77.0.1",
		},
		"a kubelet of a worker, which protected nodes must reach": {
			policyIn("early", v3.Deny, all, ports("10250"), destinations("10.77.0.21/32"), out),
			"kubelet-from-control-plane: tcp/10250 from 10.77.0.1",
		},
		"nodes at the API server": {
			policyIn("early", v3.Deny, all, ports("6443"), sources("10.77.0.21/32")),
			"apiserver-from-cluster: tcp/6443 from 10.77.0.21 to 10.77.0.1",
		},
		"a node at its own loopback": {
			policyIn("early", v3.Deny, all, protocol("TCP"), sources("127.0.0.0/8")),
			"self: tcp/1 from 127.0.0.1 to 127.0.0.1 would be Denied",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			hosts, nodes := etcdOnly(everyControlPlaneNode)
			g.Expect(hosts.Held).To(BeEmpty())
			var writes []judge.Write
			for _, object := range hosts.WholeObjects {
				writes = append(writes, judge.Write{Object: object})
			}
			there := with(calico.Live{Felix: []v3.FelixConfiguration{noFailsafes()}}, tier("early", 1))
			g.Expect(judge.CheckLockout(hosts.RequiredFlows, nodes, there, writes)).To(BeZero(), "without the foreign policy")
			report := judge.CheckLockout(hosts.RequiredFlows, nodes, with(there, tier("early", 1), test.theirs), writes)
			g.Expect(report.Cuts).To(ContainElement(HaveField("String()", ContainSubstring(test.want))))
			g.Expect(report.Cuts[0].AfterWrite).To(HavePrefix("write of HostEndpoint cpnp-cp-"))
		})
	}
}

// noFailsafes is a configuration without failsafe ports in either direction.
func noFailsafes() v3.FelixConfiguration {
	return v3.FelixConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v3.FelixConfigurationSpec{
			FailsafeInboundHostPorts: &[]v3.ProtoPort{}, FailsafeOutboundHostPorts: &[]v3.ProtoPort{},
		},
	}
}

// A policy for some of the control-plane nodes does not cut off the others.
func TestAPolicyForOneControlPlaneNodeAllowsTheOthers(t *testing.T) {
	g := NewWithT(t)
	hosts, nodes := etcdOnly(v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node": "cp-1"}})
	var writes []judge.Write
	for _, object := range hosts.WholeObjects {
		writes = append(writes, judge.Write{Object: object})
	}
	there := calico.Live{Felix: []v3.FelixConfiguration{noFailsafes()}}
	g.Expect(hosts.Whole.Nodes).To(HaveLen(1))
	g.Expect(judge.CheckLockout(hosts.RequiredFlows, nodes, there, writes)).To(BeZero())

	// The test must fail if the other nodes are cut off.
	set := slices.IndexFunc(writes, func(w judge.Write) bool { return w.Object.GetName() == "cpnp-p-control-plane-0" })
	narrow := writes[set].Object.(*v3.GlobalNetworkSet).DeepCopy()
	narrow.Spec.Nets = []string{"10.77.0.11/32"}
	writes[set].Object = narrow
	g.Expect(judge.CheckLockout(hosts.RequiredFlows, nodes, there, writes).Cuts).To(ContainElement(HaveField("String()",
		ContainSubstring("etcd: tcp/2379 from 10.77.0.12 to 10.77.0.11 would be Denied"))))
}

// Flows between unprotected nodes, and unknown decisions at an unprotected node, block
// no write: the operator neither causes nor could repair a cut there.
func TestCutsBetweenOtherNodesHoldNoWrite(t *testing.T) {
	g := NewWithT(t)
	hosts, nodes := etcdOnly(v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node": "cp-1"}})
	theirs := func(node string) v3.HostEndpoint {
		e := endpoint("theirs-"+node, node, "*")
		e.Labels, e.Spec.Profiles = map[string]string{"theirs": node}, []string{"projectcalico-default-allow"}
		return e
	}
	there := with(calico.Live{Felix: []v3.FelixConfiguration{noFailsafes()}}, tier("early", 1),
		policyIn("early", v3.Deny, selecting("theirs == 'cp-2'"), ports("2379"), sources("10.77.0.13/32")))
	there.Endpoints = []v3.HostEndpoint{theirs("cp-2"), theirs("worker-1")}
	g.Expect(judge.CheckLockout(hosts.RequiredFlows, nodes, there, nil)).To(BeZero(), "cp-3 to cp-2")

	named := policyIn("early", v3.Deny, selecting("theirs == 'worker-1'"), ports("kubelet"))
	named.Name = "early.named"
	g.Expect(judge.CheckLockout(hosts.RequiredFlows, nodes, with(there, tier("early", 1), named), nil).AlreadyCut).To(BeEmpty(), "a port by its name")

	both, nodes := etcdOnly(everyControlPlaneNode)
	g.Expect(judge.CheckLockout(both.RequiredFlows, nodes, there, nil).AlreadyCut).To(ContainElement(HaveField("String()",
		ContainSubstring("etcd: tcp/2379 from 10.77.0.13 to 10.77.0.12 is Denied already"))))
}
