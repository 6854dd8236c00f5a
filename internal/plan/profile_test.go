// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// An error in spec.profile that the API server cannot detect is reported, and nothing is rendered meanwhile.
func TestErrorsInAProfileAreReported(t *testing.T) {
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
		want  string // empty for no error
	}{
		"Nothing":                                    {},
		"Ports of a restricted component":            {edits: []edit{component("etcd", 12379)}},
		"Ports of a component without restriction":   {edits: []edit{component("kube-proxy", 20256)}},
		"Traffic of every kind":                      {edits: []edit{flow("more", "", "all", "tcp", "udp/1-9", "icmp/3/4", "icmpv6/1", "ip/112")}},
		"A component that the profile does not have": {edits: []edit{component("etcdd", 1)}, want: "component etcdd: there is no component of this name: write calico-"},
		"Ports of the API server":                    {edits: []edit{component("kube-apiserver", 1)}, want: "EndpointSlice of the Service default/kubernetes"},
		"Node ports as a component":                  {edits: []edit{component("node-ports", 1)}, want: "set the range of node ports instead"},
		"Ports in two places": {
			edits: []edit{component("etcd", 1), etcdPorts},
			want:  "the ports of etcd are in spec.network.components, and as etcd in spec.profile.components: take one of them out",
		},
		"A port of another component":           {edits: []edit{component("kube-proxy", 2379)}, want: "share a port"},
		"A flow that the profile has":           {edits: []edit{flow("ssh", "", "tcp/22")}, want: "added flow ssh: the profile has a flow of this name: choose another name"},
		"A flow of an unknown component":        {edits: []edit{flow("more", "etcdd")}, want: "flow more: there is no component etcdd: write"},
		"An impossible port":                    {edits: []edit{flow("more", "", "tcp/65536")}, want: `spec.profile.flows, more: traffic: "tcp/65536" is no traffic: write`},
		"A range whose end is before its start": {edits: []edit{flow("more", "", "tcp/9-1")}, want: "is no traffic: write"},
		"A protocol number that has a name":     {edits: []edit{flow("more", "", "ip/6")}, want: `"ip/6" has a name of its own: write tcp`},
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

// An added flow is allowed before a component restricts it. The author of the
// flow may not notice this, so it is reported.
func TestAFlowThatAllowsMoreThanAComponentIsReported(t *testing.T) {
	flow := func(need v1alpha1.Need, traffic v1alpha1.Traffic, from ...v1alpha1.FlowRole) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile.Flows = []v1alpha1.ProfileFlow{{Name: "more", From: from, To: "ControlPlane", Need: need, Traffic: []v1alpha1.Traffic{traffic}}}
		}
	}
	const required, optional = v1alpha1.NeedRequired, v1alpha1.NeedOptional
	told := ContainElement(ContainSubstring("the flow more of spec.profile.flows lets in more at ports of component etcd"))
	for name, test := range map[string]struct {
		edits []edit
		told  bool
	}{
		"From nodes to etcd":                                {[]edit{flow(required, "tcp/2379", "Nodes")}, true},
		"From any address to etcd":                          {[]edit{flow(required, "tcp/2379", "Any")}, true},
		"From any address to every port":                    {[]edit{flow(required, "tcp", "Any")}, true},
		"From nodes to another port":                        {[]edit{flow(required, "tcp/8443", "Nodes")}, false},
		"From the control plane to etcd":                    {[]edit{flow(required, "tcp/2379", "ControlPlane")}, false},
		"From nodes to etcd, optional":                      {[]edit{flow(optional, "tcp/2379", "Nodes")}, false},
		"From nodes to etcd, optional, where it is allowed": {[]edit{flow(optional, "tcp/2379", "Nodes"), deniesUnlisted}, true},
		"From nodes to an etcd that any address may reach":  {[]edit{flow(required, "tcp/2379", "Nodes"), func(p *v1alpha1.ControlPlaneNetworkPolicy) { anybody(&p.Spec.Network.Components[0]) }}, false},
	} {
		t.Run(name, func(t *testing.T) {
			snapshot := machines(machine("cp-1", "10.0.0.1"), machine("worker-1", "10.0.1.1"))
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Pools = []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/24"}}} })
			hosts := protect(t, snapshot, test.edits...)
			if test.told {
				NewWithT(t).Expect(hosts.Notes).To(told)
			} else {
				NewWithT(t).Expect(hosts.Notes).NotTo(told)
			}
		})
	}
}

// Anybody who can add or remove a sign of a distribution must not be able to stop repairs.
func TestADetectedProfileIsKept(t *testing.T) {
	before := func(distribution, cni, reason string) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile.Distribution, p.Spec.Profile.CNI = "", ""
			p.Status.Profile = &v1alpha1.ResolvedProfile{Distribution: distribution, DistributionReason: reason, CNI: cni, CNIReason: reason}
		}
	}
	for name, test := range map[string]struct {
		before edit
		held   bool
	}{
		"detected":           {before("kubeadm", "calico", "there is a sign"), false},
		"kept a second time": {before("kubeadm", "calico", "it was detected before and is kept, although"), false},
		"not detected":       {before("Unknown", "calico", "there is a sign"), true},
		"set by hand":        {before("kubeadm", "calico", "set in spec.profile"), true},
		"never reported on":  {func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Profile = v1alpha1.Profile{} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"))
			snapshot.Facts.DaemonSets, snapshot.Facts.ConfigMaps = nil, nil
			policies := compile(policy("p", etcd, test.before))
			hosts := plan.HostProtection(&policies[0], policies, snapshot)
			if test.held {
				g.Expect(hosts.Held).To(ConsistOf(HaveField("Reason", v1alpha1.ReasonProfileUnknown)))
				return
			}
			g.Expect(hosts.Held).To(BeEmpty())
			g.Expect(hosts.WholeObjects).NotTo(BeEmpty())
			g.Expect(hosts.Profile.CNIReason).To(HavePrefix("it was detected before and is kept, although there is no DaemonSet"))
			g.Expect(hosts.Notes).To(ContainElement(ContainSubstring("the CNI is taken for calico: it was detected before and is kept")))
		})
	}
}

// A kubelet must not be able to stop the protection of nodes by making the cluster look as if
// its control plane were elsewhere. Only labels that kubelets may not set are such a sign.
func TestKubeletsCannotEndTheProtectionOfNodes(t *testing.T) {
	before := func(distribution, reason string) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.Profile.Distribution = ""
			p.Status.Profile = &v1alpha1.ResolvedProfile{Distribution: distribution, DistributionReason: reason, CNI: "calico", CNIReason: reason}
		}
	}
	for name, test := range map[string]struct {
		before edit
		labels map[string]string
		kept   bool
	}{
		"detected before":    {before: before("kubeadm", "there is a sign"), kept: true},
		"never reported on":  {before: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Profile.Distribution = "" }},
		"set by hand before": {before: before("kubeadm", "set in spec.profile")},
		"set by hand now": {before: func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			before("kubeadm", "there is a sign")(p)
			p.Spec.Profile.Distribution = "managed"
		}},
		"the control plane was elsewhere before": {before: before("managed", "there is a sign")},
		"the provider's nodes have the label":    {before: before("kubeadm", "there is a sign"), labels: map[string]string{"node-role.kubernetes.io/master": "", "ibm-cloud.kubernetes.io/worker-id": "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"))
			snapshot.Facts.Nodes = []profile.Node{{Name: "cp-1", Labels: test.labels}}
			snapshot.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("203.0.113.1:6443")}
			policies := compile(policy("p", etcd, test.before))
			hosts := plan.HostProtection(&policies[0], policies, snapshot)
			if !test.kept {
				g.Expect(hosts.Unprotected).To(HaveField("Reason", v1alpha1.ReasonNotApplicable))
				return
			}
			g.Expect(hosts.Unprotected).To(BeNil())
			g.Expect(hosts.WholeObjects).NotTo(BeEmpty())
			g.Expect(hosts.Notes).To(ContainElement(ContainSubstring("the distribution is taken for kubeadm: it was detected before and is kept")))
		})
	}
}
