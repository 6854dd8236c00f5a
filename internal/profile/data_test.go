// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// apiServerPort is an unusual port, so that the tests find data that assumes the usual one.
const apiServerPort = 7443

func load(t *testing.T) profile.Library {
	t.Helper()
	library, err := profile.LoadLibrary()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return library
}

// everyCluster calls the test with every distribution with every CNI, and with every add-on once.
func everyCluster(t *testing.T, test func(t *testing.T, cni string, p profile.Profile)) {
	t.Helper()
	library := load(t)
	run := func(distribution, cni string, addOns ...string) {
		t.Run(strings.Join(append([]string{distribution, cni}, addOns...), "+"), func(t *testing.T) {
			p, err := library.Resolve(distribution, cni, profile.Overrides{APIServerPorts: []uint16{apiServerPort}, AddOns: addOns})
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			if p.NotApplicable == "" {
				test(t, cni, p)
			}
		})
	}
	for _, distribution := range library.DistributionNames() {
		for _, cni := range library.CNINames() {
			run(distribution, cni)
		}
	}
	for _, addOn := range library.AddOnNames() {
		run("kubeadm", "flannel", addOn)
	}
}

func TestProfilesAreThoseOfTheDocumentation(t *testing.T) {
	g := NewWithT(t)
	library := load(t)
	g.Expect(library.DistributionNames()).To(Equal([]string{"k0s", "k3s", "kubeadm", "managed", "openshift", "rke2", "talos"}))
	g.Expect(library.CNINames()).To(Equal([]string{"calico", "canal", "cilium", "flannel", "ovn-kubernetes"}))
	g.Expect(library.AddOnNames()).To(Equal([]string{"keepalived", "konnectivity", "kube-vip", "metallb", "node-local-dns"}))
}

func TestNoLockOutIsPossibleInAnyCluster(t *testing.T) {
	// Rail 3: the flows that are never cut.
	rails := []struct {
		why       string
		from, to  profile.Role
		component string
	}{
		{"every node to the API server", profile.RoleNodes, profile.RoleControlPlane, "kube-apiserver"},
		{"the operator, a pod, to the API server", profile.RolePods, profile.RoleControlPlane, "kube-apiserver"},
		{"one admin path", profile.RoleAdmin, profile.RoleControlPlane, "kube-apiserver"},
		{"etcd members to each other", profile.RoleControlPlane, profile.RoleControlPlane, "etcd"},
		{"API server to kubelet; the other direction is every node to the API server", profile.RoleControlPlane, profile.RoleNodes, "kubelet"},
		{"Felix to Typha", profile.RoleNodes, profile.RoleNodes, "calico-typha"},
	}
	everyCluster(t, func(t *testing.T, cni string, p profile.Profile) {
		g := NewWithT(t)
		g.Expect(p.Flows).To(ContainElement(And(
			HaveField("From", ConsistOf(profile.RoleSelf)), HaveField("To", profile.RoleSelf), HaveField("Required", true),
			HaveField("Traffic", ConsistOf(profile.Traffic{})),
		)), "a node to itself")
		for _, rail := range rails {
			if rail.component == "calico-typha" && cni != "calico" && cni != "canal" {
				continue
			}
			component, ok := p.FindComponent(rail.component)
			g.Expect(ok).To(BeTrue(), rail.component)
			g.Expect(p.RequiredAt(rail.component)).To(ContainElement(And(
				HaveField("From", ContainElement(rail.from)), HaveField("To", rail.to), HaveField("Traffic", Equal(component.Traffic)),
			)), rail.why)
		}
	})
}

func TestEveryRequiredFlowIsOfAListedKind(t *testing.T) {
	// Required flows are allowed whatever a policy declares: a list that is
	// longer than necessary limits what policies can restrict.
	required := map[string]string{
		"self":                               "a node to itself",
		"apiserver-from-cluster":             "to the API server",
		"apiserver-from-admins":              "to the API server",
		"apiserver-from-load-balancer":       "to the API server",
		"apiserver-through-load-balancer":    "to the API server",
		"etcd":                               "etcd",
		"kubelet-from-control-plane":         "API server to kubelet",
		"rke2-supervisor":                    "API server to kubelet",
		"rke2-supervisor-from-load-balancer": "API server to kubelet",
		"konnectivity":                       "API server to kubelet",
		"calico-typha":                       "Felix to Typha",
		"neighbour-discovery":                "any of these over IPv6",
		"neighbour-discovery-out":            "any of these over IPv6",
	}
	everyCluster(t, func(t *testing.T, _ string, p profile.Profile) {
		for _, flow := range p.RequiredFlows() {
			NewWithT(t).Expect(required).To(HaveKey(flow.Name))
		}
	})
}

func TestNothingAssumesThePortOfTheAPIServer(t *testing.T) {
	usual := profile.Traffic{Protocol: profile.TCP, First: 6443, Last: 6443}
	everyCluster(t, func(t *testing.T, _ string, p profile.Profile) {
		for _, flow := range p.Flows {
			for _, traffic := range flow.Traffic {
				if traffic.Overlaps(usual) && traffic.First == traffic.Last && traffic.HasPorts() && traffic.First != 0 {
					t.Errorf("flow %s assumes port 6443", flow.Name)
				}
			}
		}
	})
}

func TestFlowsDoNotContradictEachOther(t *testing.T) {
	everyCluster(t, func(t *testing.T, _ string, p profile.Profile) {
		g := NewWithT(t)
		seen := map[string]string{}
		for _, flow := range p.Flows {
			key := fmt.Sprint(flow.From, flow.To, flow.Destinations, flow.Traffic)
			g.Expect(seen).NotTo(HaveKey(key), "%s is the same as %s", flow.Name, seen[key])
			seen[key] = flow.Name
			if !flow.ArrivesAtNode() || flow.To == profile.RoleSelf {
				continue
			}
			for _, closed := range p.Closed {
				for _, traffic := range flow.Traffic {
					g.Expect(slices.ContainsFunc(closed.Traffic, traffic.Overlaps)).To(BeFalse(), "%s opens %s", flow.Name, closed.Name)
				}
			}
		}
	})
}

func TestEveryFlowHasSourcesOrAnOpenQuestion(t *testing.T) {
	everyCluster(t, func(t *testing.T, _ string, p profile.Profile) {
		g := NewWithT(t)
		for _, flow := range p.Flows {
			for _, source := range flow.Sources {
				g.Expect(source).To(ContainSubstring(", "), "%s: the source is a document, not its key in the file", flow.Name)
			}
			g.Expect(len(flow.Sources) > 0 || flow.Unsure && flow.Note != "").To(BeTrue(), flow.Name)
			g.Expect(flow.Layer).NotTo(BeEmpty(), flow.Name)
			g.Expect(flow.Traffic).NotTo(BeEmpty(), flow.Name)
		}
	})
}

func TestManagedClustersHaveNothingToProtect(t *testing.T) {
	g := NewWithT(t)
	p, err := profile.Resolve("managed", "cilium", profile.Overrides{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(p.NotApplicable).To(ContainSubstring("the control plane does not run on nodes of this cluster"))
	g.Expect(p.Flows).To(BeEmpty())
	g.Expect(p.Components).To(BeEmpty())
}

func TestInvalidDataFilesAreRefused(t *testing.T) {
	file := func(rest string) string { return "name: x\nversion: 1\ntitle: X\nsources: {doc: A document}\n" + rest }
	flow := func(fields string) string { return file("flows:\n- {name: f, " + fields + "}\n") }
	const rest = "from: [Nodes], to: Nodes, traffic: [tcp/1], sources: [doc]"
	tests := map[string]struct{ text, want string }{
		"An unknown field":                     {flow(rest + ", port: 1"), `unknown field "port"`},
		"A field that occurs twice":            {file("flows: []\nflows: []\n"), "already set"},
		"A name that is no label":              {"name: X\nversion: 1\ntitle: X\n", `name: "X" must consist of lower-case letters`},
		"No version":                           {"name: x\ntitle: X\n", "version: must be 1 or more"},
		"No title":                             {"name: x\nversion: 1\n", "title: must not be empty"},
		"Flows where nothing applies":          {flow(rest) + "notApplicable: no nodes\n", "notApplicable: must not be set where there are"},
		"A document without a reference to it": {file(""), "nothing refers to doc"},
		"A flow without a name":                {file("flows:\n- {" + rest + "}\n"), "name: must consist of"},
		"Two flows of one name":                {file("flows:\n- {name: f, " + rest + "}\n- {name: f, " + rest + "}\n"), "flows[1] (f): name: there is another flow f"},
		"A flow without a sender":              {flow("to: Nodes, traffic: [tcp/1], sources: [doc]"), "from: must name at least one role"},
		"An unknown role":                      {flow("from: [Node], to: Nodes, traffic: [tcp/1], sources: [doc]"), `"Node" is no role: write ControlPlane, Nodes, Pods,`},
		"A role twice":                         {flow("from: [Nodes, Nodes], to: Nodes, traffic: [tcp/1], sources: [doc]"), "Nodes is listed twice"},
		"A flow without a receiver":            {flow("from: [Nodes], traffic: [tcp/1], sources: [doc]"), `to: "" is no role`},
		"A flow past the nodes":                {flow("from: [Pods], to: Pods, traffic: [tcp/1], sources: [doc]"), "does not touch a node"},
		"No traffic":                           {flow("from: [Nodes], to: Nodes, sources: [doc]"), "must have either a component"},
		"A component and traffic":              {flow(rest + ", component: etcd"), "must have either a component"},
		"Invalid traffic":                      {flow("from: [Nodes], to: Nodes, traffic: [tcp/0], sources: [doc]"), `"tcp/0" is no traffic`},
		"No source":                            {flow("from: [Nodes], to: Nodes, traffic: [tcp/1]"), "sources: must name a document"},
		"An unknown source":                    {flow("from: [Nodes], to: Nodes, traffic: [tcp/1], sources: [dok]"), `"dok" is not defined`},
		"Unsure, and nothing to check":         {flow(rest + ", unsure: true"), "note: must say what to check"},
		"A layer that is not its own":          {flow(rest + ", layer: base"), "layer: must be left out"},
		"A destination that is too long":       {flow(rest + ", destinations: [10.0.0.1/8]"), "destinations: 10.0.0.1/8 must be"},
		"A component without ports":            {file("components:\n- {name: c, traffic: []}\n"), "components[0] (c): traffic: must not be empty"},
		"Further ports of no API server":       {file("components:\n- {name: c, traffic: [tcp/1], also: [tcp/2]}\n"), "also: must be left out"},
		"Further ports that include all":       {file("components:\n- {name: c, fromCluster: true, traffic: [tcp/1], also: [tcp]}\n"), "also: traffic: tcp must have a port"},
		"Ports of others on loopback":          {file("components:\n- {name: c, traffic: [tcp/1], loopback: [tcp/2]}\n"), "loopback: tcp/2 must be part of traffic"},
		"A component of all ports":             {file("components:\n- {name: c, traffic: [tcp]}\n"), "traffic: tcp must have a port"},
		"A component without a name":           {file("components:\n- {traffic: [tcp/1]}\n"), "name: must consist of"},
		"Closed without a source":              {file("closed:\n- {name: c, traffic: [tcp/1]}\n"), "sources: must name a document"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := profile.Parse([]byte(test.text))
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(test.want)))
		})
	}
	layer, err := profile.Parse([]byte(flow(rest)))
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), "the file without errors, from which all cases are derived")
	NewWithT(t).Expect(layer.Flows).To(HaveLen(1))
}

// version is what is known of a version of a data file: the hash of its content.
type version struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"`
}

func TestAChangedDataFileHasANewVersion(t *testing.T) {
	g := NewWithT(t)
	const file = "testdata/versions.yaml"
	known := map[string]version{}
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(yaml.UnmarshalStrict(text, &known)).To(Succeed())
	got := map[string]version{}
	for _, layer := range load(t).Layers() {
		now, before := version{layer.Version, digest(layer)}, known[layer.Name]
		if now.Digest != before.Digest {
			g.Expect(now.Version).To(BeNumerically(">", before.Version), "%s calls for something else than before: raise its version", layer.Name)
		}
		got[layer.Name] = now
	}
	if *update && !t.Failed() {
		text, err := yaml.Marshal(got)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(os.WriteFile(file, text, 0o644)).To(Succeed())
	} else {
		g.Expect(got).To(Equal(known), "run the test with -update")
	}
}

// digest is the hash of the rules of a file, without the texts in it.
func digest(layer profile.Layer) string {
	sum := sha256.New()
	fmt.Fprintln(sum, layer.Without, layer.NotApplicable != "")
	for _, c := range layer.Components {
		fmt.Fprintln(sum, c.Name, c.Traffic, c.FromCluster, c.Also, c.Translated)
	}
	for _, f := range layer.Flows {
		fmt.Fprintln(sum, f.Name, f.From, f.To, f.Destinations, f.Component, f.Traffic, f.Required)
	}
	for _, c := range layer.Closed {
		fmt.Fprintln(sum, c.Name, c.Traffic)
	}
	return fmt.Sprintf("%.8x", sum.Sum(nil))
}

// The data on pods has the required form.
func TestInvalidDataOnPodsIsRefused(t *testing.T) {
	const head = "name: some\nversion: 1\ntitle: Some\nsources: {a: A}\n"
	const pods = "podNetworks: {from: Elsewhere, sources: [a]}\n"
	policies := func(more string) string {
		return "networkPolicies: {enforced: Always, ipBlockNodes: Always, ipBlockPods: Always, namedPorts: Always, sources: [a], " + more + "}\n"
	}
	for text, want := range map[string]string{
		head + pods: "must both be set, or neither",
		head + pods + policies("endPort: Sometimes"):                                        `"Sometimes" must be one of [Always Never Depends NotKnown]`,
		head + pods + policies("endPort: Depends"):                                          "depends: must say on what a field depends",
		head + pods + policies("endPort: Never, depends: x"):                                "must be empty otherwise",
		head + policies("endPort: Never") + "podNetworks: {from: There, sources: [a]}\n":    `"There" must be one of`,
		head + policies("endPort: Never") + "podNetworks: {from: Elsewhere, sources: []}\n": "sources: must name a document",
	} {
		_, err := profile.Parse([]byte(text))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)), text)
	}
	_, err := profile.Parse([]byte(head + pods + policies("endPort: Depends, depends: x")))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
}
