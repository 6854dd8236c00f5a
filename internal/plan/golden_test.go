// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cluster is an input file: policies, oldest first, and nodes.
type cluster struct {
	policies []v1alpha1.ControlPlaneNetworkPolicy
	nodes    []corev1.Node
}

// rendering is an output file's document: what one policy calls for.
type rendering struct {
	NetworkPolicies []*networkingv1.NetworkPolicy `json:"networkPolicies,omitempty"`
	Held            []string                      `json:"held,omitempty"`
	Losses          []string                      `json:"losses,omitempty"`
}

func TestNetworkPoliciesAreRenderedAsInTheGoldenFiles(t *testing.T) {
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
	policies := plan.Compile(c.policies)
	var out bytes.Buffer
	for i := range policies {
		network := plan.Networks(&policies[i], policies, c.nodes)
		document := rendering{NetworkPolicies: network.Objects}
		for _, held := range network.Held {
			document.Held = append(document.Held, held.Component+": "+held.Why)
		}
		for _, loss := range network.Losses {
			document.Losses = append(document.Losses, loss.What+" is claimed by "+loss.Winner)
		}
		text, err := yaml.Marshal(document)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		fmt.Fprintf(&out, "--- # policy %s\n%s", policies[i].Name, text)
	}
	return out.String()
}

func read(t *testing.T, file string) cluster {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	var c cluster
	for _, document := range strings.Split(string(text), "\n---\n") {
		var kind metav1.TypeMeta
		g.Expect(yaml.Unmarshal([]byte(document), &kind)).To(Succeed())
		switch kind.Kind {
		case "ControlPlaneNetworkPolicy":
			var policy v1alpha1.ControlPlaneNetworkPolicy
			g.Expect(yaml.UnmarshalStrict([]byte(document), &policy)).To(Succeed())
			c.policies = append(c.policies, policy)
		case "Node":
			var node corev1.Node
			g.Expect(yaml.UnmarshalStrict([]byte(document), &node)).To(Succeed())
			c.nodes = append(c.nodes, node)
		default:
			t.Fatalf("%s: what is a %q?", file, kind.Kind)
		}
	}
	return c
}
