// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cluster is an input file: policies (oldest first), nodes, and the rest of a snapshot.
type cluster = state.Snapshot

// rendering is a document of an output file: the objects that one policy calls for.
type rendering struct {
	NetworkPolicies []*networkingv1.NetworkPolicy `json:"networkPolicies,omitempty"`
	// Hosts are the Calico objects, in the order of their writes.
	Hosts []map[string]any `json:"hosts,omitempty"`
	// Nodes are the rulesets of the nodes, now and at the end; VersionsInUse are
	// the ruleset versions that stay, if there are enactments.
	Nodes         map[string]plan.NodeTarget `json:"nodes,omitempty"`
	VersionsInUse []string                   `json:"versionsInUse,omitempty"`
	Unprotected   string                     `json:"unprotected,omitempty"`
	Notes         []string                   `json:"notes,omitempty"`
	Held          []string                   `json:"held,omitempty"`
	Undecided     []string                   `json:"undecided,omitempty"`
	Losses        []string                   `json:"losses,omitempty"`
}

func TestRenderingMatchesTheGoldenFiles(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(inputs).NotTo(BeEmpty())
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			output := filepath.Join("testdata", name+".out.yaml")
			got := render(t, read(t, input))
			if *update {
				g.Expect(os.WriteFile(output, []byte(got), 0o644)).To(Succeed())
			}
			want, err := os.ReadFile(output)
			g.Expect(err).NotTo(HaveOccurred())
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run the test with -update and read what changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEveryGoldenOutputHasAnInput(t *testing.T) {
	g := NewWithT(t)
	outputs, err := filepath.Glob("testdata/*.out.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	for _, output := range outputs {
		g.Expect(strings.TrimSuffix(output, ".out.yaml") + ".in.yaml").To(BeAnExistingFile())
	}
}

func render(t *testing.T, c cluster) string {
	t.Helper()
	policies := plan.Compile(c.Policies)
	var out bytes.Buffer
	for i := range policies {
		network := plan.NetworkPolicies(&policies[i], policies, c)
		hosts := plan.HostProtection(&policies[i], policies, c)
		document := rendering{NetworkPolicies: network.Objects}
		for _, object := range hosts.Objects {
			content, err := plan.WrittenContent(object)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			document.Hosts = append(document.Hosts, content)
		}
		if len(c.Enactments) > 0 {
			document.Nodes, document.VersionsInUse = hosts.Targets, sets.List(hosts.VersionsInUse)
		}
		document.Notes = slices.Concat(network.Notes, hosts.Notes)
		if hosts.Unprotected != nil {
			document.Unprotected = hosts.Unprotected.Reason + ": " + hosts.Unprotected.Message
		}
		for _, held := range hosts.Undecided {
			document.Undecided = append(document.Undecided, held.Reason+": "+held.Why)
		}
		for _, held := range slices.Concat(network.Held, hosts.Held) {
			document.Held = append(document.Held, held.Reason+": "+held.String())
		}
		for _, loss := range slices.Concat(network.Losses, hosts.Losses) {
			document.Losses = append(document.Losses, loss.What+" is claimed by "+loss.Winner)
		}
		text, err := yaml.Marshal(document)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		fmt.Fprintf(&out, "--- # policy %s\n%s", policies[i].Name, text)
	}
	return out.String()
}

func nameOf(t *testing.T, document string) types.NamespacedName {
	t.Helper()
	var object metav1.PartialObjectMetadata
	NewWithT(t).Expect(yaml.Unmarshal([]byte(document), &object)).To(Succeed())
	return types.NamespacedName{Namespace: object.Namespace, Name: object.Name}
}

func read(t *testing.T, file string) cluster {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	c := cluster{Backend: calico.Live{Mode: calico.Native}}
	for _, document := range strings.Split(string(text), "\n---\n") {
		var kind metav1.TypeMeta
		g.Expect(yaml.Unmarshal([]byte(document), &kind)).To(Succeed())
		switch kind.Kind {
		case "ControlPlaneNetworkPolicy":
			var policy v1alpha1.ControlPlaneNetworkPolicy
			g.Expect(yaml.UnmarshalStrict([]byte(document), &policy)).To(Succeed())
			c.Policies = append(c.Policies, policy)
		case "Node":
			node := &corev1.Node{}
			g.Expect(yaml.UnmarshalStrict([]byte(document), node)).To(Succeed())
			c.Nodes = append(c.Nodes, node)
		case "EndpointSlice":
			var slice discoveryv1.EndpointSlice
			g.Expect(yaml.UnmarshalStrict([]byte(document), &slice)).To(Succeed())
			cached, err := state.TransformEndpointSlice(&slice)
			g.Expect(err).NotTo(HaveOccurred())
			c.Facts.APIServer = append(c.Facts.APIServer, state.APIServerAddresses(cached.(*state.EndpointSlice))...)
		case "ControlPlaneNodeEnactment":
			var enactment v1alpha1.ControlPlaneNodeEnactment
			g.Expect(yaml.UnmarshalStrict([]byte(document), &enactment)).To(Succeed())
			c.Enactments = append(c.Enactments, enactment)
		case "DaemonSet":
			c.Facts.DaemonSets = append(c.Facts.DaemonSets, nameOf(t, document))
		case "ConfigMap":
			var settings corev1.ConfigMap
			g.Expect(yaml.UnmarshalStrict([]byte(document), &settings)).To(Succeed())
			c.Facts.ConfigMaps = map[types.NamespacedName]map[string]string{nameOf(t, document): settings.Data}
		case "IPPool":
			var pool v3.IPPool
			g.Expect(yaml.UnmarshalStrict([]byte(document), &pool)).To(Succeed())
			calicotest.Edit(&c.Backend, func(c *calico.Live) { c.Pools = append(c.Pools, pool) })
		case "FelixConfiguration":
			var configuration v3.FelixConfiguration
			g.Expect(yaml.UnmarshalStrict([]byte(document), &configuration)).To(Succeed())
			calicotest.Edit(&c.Backend, func(c *calico.Live) { c.Felix = append(c.Felix, configuration) })
		case "GlobalNetworkSet":
			var set v3.GlobalNetworkSet
			g.Expect(yaml.UnmarshalStrict([]byte(document), &set)).To(Succeed())
			calicotest.Edit(&c.Backend, func(c *calico.Live) { c.Sets = append(c.Sets, set) })
		case "HostEndpoint":
			var endpoint v3.HostEndpoint
			g.Expect(yaml.UnmarshalStrict([]byte(document), &endpoint)).To(Succeed())
			calicotest.Edit(&c.Backend, func(c *calico.Live) { c.Endpoints = append(c.Endpoints, endpoint) })
		default:
			t.Fatalf("%s: unknown kind %q", file, kind.Kind)
		}
	}
	return c
}
