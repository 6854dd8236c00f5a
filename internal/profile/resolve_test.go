// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

var update = flag.Bool("update", false, "write the golden files and docs/profiles.md anew")

func TestProfilesMatchTheGoldenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*+*.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(files).To(HaveLen(6))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			distribution, cni, _ := strings.Cut(name, "+")
			p, err := profile.Resolve(distribution, cni, profile.Overrides{APIServerPorts: []uint16{6443}})
			g.Expect(err).NotTo(HaveOccurred())
			got := brief(p)
			if *update {
				g.Expect(os.WriteFile(file, []byte(got), 0o644)).To(Succeed())
			}
			want, err := os.ReadFile(file)
			g.Expect(err).NotTo(HaveOccurred())
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run the test with -update and read what changes (-want +got):\n%s", diff)
			}
		})
	}
}

// brief returns a profile as YAML with a line for each part. The texts and sources are in docs/profiles.md.
func brief(p profile.Profile) string {
	var out strings.Builder
	out.WriteString("layers:\n")
	for _, l := range p.Layers {
		fmt.Fprintf(&out, "- {name: %s, version: %d}\n", l.Name, l.Version)
	}
	out.WriteString("components:\n")
	for _, c := range p.Components {
		fmt.Fprintf(&out, "- {name: %s, traffic: %s%s%s}\n", c.Name, list(c.Traffic),
			only(c.FromCluster, ", fromCluster: true"), only(c.Translated, ", translated: true"))
	}
	out.WriteString("flows:\n")
	for _, f := range p.Flows {
		fmt.Fprintf(&out, "- {name: %s, from: %s, to: %s, traffic: %s%s%s%s%s, layer: %s}\n", f.Name, list(f.From), f.To, list(f.Traffic),
			only(len(f.Destinations) > 0, ", destinations: "+list(f.Destinations)), only(f.Component != "", ", component: "+f.Component),
			only(f.Required, ", required: true"), only(f.Unsure, ", unsure: true"), f.Layer)
	}
	out.WriteString("closed:\n")
	for _, c := range p.Closed {
		fmt.Fprintf(&out, "- {name: %s, traffic: %s}\n", c.Name, list(c.Traffic))
	}
	return out.String()
}

func list[T any](things []T) string {
	words := make([]string, 0, len(things))
	for _, thing := range things {
		words = append(words, fmt.Sprint(thing))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func only(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func traffic(t *testing.T, texts ...string) []profile.Traffic {
	t.Helper()
	var out []profile.Traffic
	for _, text := range texts {
		out = append(out, parse(t, text))
	}
	return out
}

func flow(p profile.Profile, name string) profile.Flow {
	for _, f := range p.Flows {
		if f.Name == name {
			return f
		}
	}
	return profile.Flow{}
}

func TestOverridesReplaceProfileData(t *testing.T) {
	g := NewWithT(t)
	p, err := profile.Resolve("kubeadm", "calico", profile.Overrides{
		APIServerPorts: []uint16{8443, 443, 8443},
		NodePorts:      profile.PortRange{First: 20000, Last: 20100},
		Components:     map[string][]profile.Traffic{"etcd": traffic(t, "tcp/12380", "tcp/12379")},
		AddOns:         []string{"metallb"},
		Flows: []profile.Flow{{
			Name: "backup", From: []profile.Role{profile.RoleAdmin, profile.RoleNodes}, To: profile.RoleControlPlane, Component: "etcd",
			Destinations: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		}},
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(flow(p, "apiserver-from-cluster").Traffic).To(Equal(traffic(t, "tcp/443", "tcp/8443")))
	g.Expect(flow(p, "node-ports").Traffic).To(Equal(traffic(t, "tcp/20000-20100", "udp/20000-20100")))
	etcd, _ := p.FindComponent("etcd")
	g.Expect(etcd.Traffic).To(Equal(traffic(t, "tcp/12379", "tcp/12380")))
	g.Expect(flow(p, "etcd").Traffic).To(Equal(traffic(t, "tcp/2379", "tcp/2380", "tcp/12379", "tcp/12380")),
		"what is required may go to the usual ports too: those that were set may be wrong")
	g.Expect(flow(p, "metallb-memberlist").Layer).To(Equal("metallb"))
	g.Expect(p.Layers).To(HaveExactElements(
		HaveField("Name", "base"), HaveField("Name", "kubeadm"), HaveField("Name", "calico"), HaveField("Name", "metallb")))

	added := flow(p, "backup")
	g.Expect(added.Layer).To(Equal(profile.Added))
	g.Expect(added.From).To(Equal([]profile.Role{profile.RoleNodes, profile.RoleAdmin}))
	g.Expect(added.Traffic).To(Equal(traffic(t, "tcp/12379", "tcp/12380")))
}

func TestARangeOfNodePortsMayCoverOtherComponents(t *testing.T) {
	g := NewWithT(t)
	p, err := profile.Resolve("kubeadm", "calico", profile.Overrides{
		APIServerPorts: []uint16{6443}, NodePorts: profile.PortRange{First: 1, Last: 65535},
	})
	g.Expect(err).NotTo(HaveOccurred())
	component, _ := p.FindComponent("node-ports")
	g.Expect(component.Translated).To(BeTrue())
	g.Expect(p.RequiredAt("etcd")).NotTo(ContainElement(HaveField("Name", "node-ports")))
}

func TestALaterLayerReplacesAndRemovesParts(t *testing.T) {
	g := NewWithT(t)
	p, err := profile.Resolve("talos", "cilium", profile.Overrides{APIServerPorts: []uint16{6443}})
	g.Expect(err).NotTo(HaveOccurred())
	_, hasSSH := p.FindComponent("ssh")
	g.Expect(hasSSH).To(BeFalse())
	g.Expect(flow(p, "ssh").Name).To(BeEmpty())

	p, err = profile.Resolve("openshift", "ovn-kubernetes", profile.Overrides{APIServerPorts: []uint16{7443}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(flow(p, "apiserver-from-admins").Traffic).To(Equal(traffic(t, "tcp/7443", "tcp/9445")), "the port of the virtual address is kept")
	g.Expect(flow(p, "etcd-metrics").Traffic).To(Equal(traffic(t, "tcp/2381", "tcp/9978-9980")))
}

func TestARestrictedComponentKeepsItsRequiredFlows(t *testing.T) {
	g := NewWithT(t)
	p, err := profile.Resolve("kubeadm", "calico", profile.Overrides{APIServerPorts: []uint16{6443}})
	g.Expect(err).NotTo(HaveOccurred())
	names := func(flows []profile.Flow) []string {
		var out []string
		for _, f := range flows {
			out = append(out, f.Name)
		}
		return out
	}
	g.Expect(names(p.RequiredAt("etcd"))).To(Equal([]string{"etcd", "self"}))
	g.Expect(names(p.RequiredAt("kubelet"))).To(Equal([]string{"kubelet-from-control-plane", "self"}))
	g.Expect(names(p.RequiredAt("kube-apiserver"))).To(Equal(
		[]string{"apiserver-from-admins", "apiserver-from-cluster", "apiserver-from-load-balancer", "self"}))
	g.Expect(p.RequiredAt("no-such-component")).To(BeEmpty())

	// A component on the API server's port is required, whatever its name.
	p, err = profile.Resolve("kubeadm", "calico", profile.Overrides{APIServerPorts: []uint16{6443}, Flows: []profile.Flow{{
		Name: "backup", From: []profile.Role{profile.RoleAdmin}, To: profile.RoleNodes, Traffic: traffic(t, "tcp/2000-3000"), Required: true,
	}}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(names(p.RequiredAt("etcd"))).To(Equal([]string{"backup", "etcd", "self"}))
}

func TestCallersCannotChangeTheProfileData(t *testing.T) {
	g := NewWithT(t)
	overrides := profile.Overrides{APIServerPorts: []uint16{6443}, AddOns: []string{"keepalived"}}
	first, err := profile.Resolve("k0s", "flannel", overrides)
	g.Expect(err).NotTo(HaveOccurred())
	want, err := yaml.Marshal(first)
	g.Expect(err).NotTo(HaveOccurred())
	for i := range first.Flows {
		f := &first.Flows[i]
		f.From[0], f.Traffic[0] = profile.RoleAny, profile.Traffic{}
		for j := range f.Destinations {
			f.Destinations[j] = netip.Prefix{}
		}
		for j := range f.Sources {
			f.Sources[j] = ""
		}
	}
	for i := range first.Components {
		first.Components[i].Traffic[0] = profile.Traffic{}
		for j := range first.Components[i].Sources {
			first.Components[i].Sources[j] = ""
		}
	}
	for i := range first.Closed {
		first.Closed[i].Traffic[0], first.Closed[i].Sources[0] = profile.Traffic{}, ""
	}
	second, err := profile.Resolve("k0s", "flannel", overrides)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(yaml.Marshal(second)).To(Equal(want))
}

func TestInvalidOverridesAreRefused(t *testing.T) {
	server := []uint16{6443}
	one := func(f profile.Flow) profile.Overrides {
		return profile.Overrides{APIServerPorts: server, Flows: []profile.Flow{f}}
	}
	component := func(name string, texts ...string) profile.Overrides {
		return profile.Overrides{APIServerPorts: server, Components: map[string][]profile.Traffic{name: traffic(t, texts...)}}
	}
	nodes := []profile.Role{profile.RoleNodes}
	tests := map[string]struct {
		distribution, cni string
		overrides         profile.Overrides
		want              string
	}{
		"An unknown distribution":                  {distribution: "rke", want: `distribution "rke" is not known: write k0s, k3s, kubeadm, managed, openshift, rke2 or talos`},
		"A distribution that Detect does not know": {distribution: profile.Unknown, want: `distribution "Unknown" is not known`},
		"An unknown CNI":                           {cni: "weave", want: `CNI "weave" is not known: write calico, canal, cilium, flannel or ovn-kubernetes`},
		"An unknown add-on":                        {overrides: profile.Overrides{APIServerPorts: server, AddOns: []string{"istio"}}, want: `add-on "istio" is not known: write keepalived,`},
		"No port of the API server":                {want: "the port of the API server is not known: give those of the EndpointSlice"},
		"Port 0 of the API server":                 {overrides: profile.Overrides{APIServerPorts: []uint16{0}}, want: "cannot have port 0"},
		"A range whose end is before its start": {
			overrides: profile.Overrides{APIServerPorts: server, NodePorts: profile.PortRange{First: 9, Last: 8}}, want: "node ports from 9 to 8: write the first port"},
		"A range from 0":                {overrides: profile.Overrides{APIServerPorts: server, NodePorts: profile.PortRange{Last: 8}}, want: "node ports from 0 to 8"},
		"An unknown component":          {overrides: component("etc", "tcp/1"), want: "component etc: there is no component of this name: write calico-typha, cloud-controller-manager, etcd,"},
		"The API server as a component": {overrides: component("kube-apiserver", "tcp/1"), want: "cannot be set"},
		"Node ports as a component":     {overrides: component("node-ports", "tcp/1"), want: "set the range of node ports instead"},
		"A component without ports":     {overrides: component("etcd"), want: "component etcd: traffic: must not be empty"},
		"Two components on one port": {overrides: component("etcd", "tcp/10250"), want: "components etcd ([tcp/10250]) and kubelet ([tcp/10250]) share a port, tcp/10250: " +
			"if only etcd uses the port, write where kubelet listens, or another port if kubelet does not listen: spec: {profile: {components: [{name: kubelet, ports: [{protocol: TCP, port: 10251}]}]}}"},
		"The API server on the port of another component": {overrides: profile.Overrides{APIServerPorts: []uint16{2379}}, want: "components etcd ([tcp/2379 tcp/2380]) and kube-apiserver"},
		"A flow with the name of another one":             {overrides: one(profile.Flow{Name: "self", From: nodes, To: profile.RoleNodes, Component: "etcd"}), want: "added flow self: the profile has a flow of this name"},
		"A flow of an unknown component":                  {overrides: one(profile.Flow{Name: "f", From: nodes, To: profile.RoleNodes, Component: "etc"}), want: "flow f: there is no component etc: write"},
		"A flow without traffic":                          {overrides: one(profile.Flow{Name: "f", From: nodes, To: profile.RoleNodes}), want: "added flow f: must have either"},
		"A flow from a node itself to other nodes": {overrides: one(profile.Flow{Name: "f", From: []profile.Role{profile.RoleSelf}, To: profile.RoleNodes, Component: "etcd"}),
			want: "added flow f: a flow from [Self] to Nodes: Self must be on both sides, or on none: write ControlPlane or Nodes"},
		"A flow from other nodes to a node itself": {overrides: one(profile.Flow{
			Name: "f", From: []profile.Role{profile.RoleSelf, profile.RoleAdmin}, To: profile.RoleSelf, Component: "etcd",
		}), want: "Self must be on both sides"},
		"A flow with an invalid destination": {overrides: one(profile.Flow{Name: "f", From: nodes, To: profile.RoleNodes, Component: "etcd",
			Destinations: []netip.Prefix{{}}}), want: "added flow f: destinations:"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.distribution == "" {
				test.distribution = "kubeadm"
			}
			if test.cni == "" {
				test.cni = "calico"
			}
			_, err := profile.Resolve(test.distribution, test.cni, test.overrides)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(test.want)))
		})
	}
}

func TestRequiredFlowsStayRequired(t *testing.T) {
	// A layer that removes a required flow is refused when it is merged. No data
	// file does, so this test checks the refusal itself.
	g := NewWithT(t)
	g.Expect(profile.Merge("without: [self]")).To(MatchError(ContainSubstring("without: flow self is required")))
	g.Expect(profile.Merge("without: [nothing]")).To(MatchError(ContainSubstring("there is no flow or component nothing")))
	g.Expect(profile.Merge("flows: [{name: self, from: [Self], to: Self, traffic: [tcp], unsure: true, note: x}]")).To(
		MatchError(ContainSubstring("flow self: must be required, as the flow that it replaces")))
	g.Expect(profile.Merge("without: [ssh]")).To(Succeed())
}
