// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestHostsMatchTheGoldenFiles(t *testing.T) {
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

// goldenHosts is the input of a golden file: hosts, and the nodes that have the whole ruleset now.
type goldenHosts struct {
	backend.Hosts
	Nodes []struct {
		backend.Node
		Enforced bool
	}
}

func read(t *testing.T, file string) backend.Hosts {
	t.Helper()
	text, err := os.ReadFile(file)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var golden goldenHosts
	NewWithT(t).Expect(yaml.UnmarshalStrict(text, &golden)).To(Succeed())
	for _, node := range golden.Nodes {
		golden.Hosts.Nodes = append(golden.Hosts.Nodes, node.Node)
	}
	hosts := calico.WithRulesets(golden.Hosts)
	for i, node := range golden.Nodes {
		if !node.Enforced {
			hosts.Nodes[i].Ruleset = rollout.Ruleset{}
		}
	}
	return hosts
}

// render returns the objects in the order and form of the writes.
func render(t *testing.T, hosts backend.Hosts) string {
	t.Helper()
	g := NewWithT(t)
	objects, err := calico.Render(hosts)
	g.Expect(err).NotTo(HaveOccurred())
	var documents []string
	for _, object := range objects {
		content, err := calico.WrittenContent(object)
		g.Expect(err).NotTo(HaveOccurred())
		text, err := yaml.Marshal(content)
		g.Expect(err).NotTo(HaveOccurred())
		documents = append(documents, string(text))
	}
	return strings.Join(documents, "---\n")
}
