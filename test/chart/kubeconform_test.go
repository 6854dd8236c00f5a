// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/test/chart/jsonschema"
)

const (
	// schemaFile is the path at which kubeconform looks for the schema of a kind,
	// within a folder. For a core kind, the version is in the place of the group.
	schemaFile = "{{.Group}}/{{.ResourceAPIVersion}}/{{.ResourceKind}}.json"
	// prometheusOperator has the definitions of ServiceMonitors and PrometheusRules.
	prometheusOperator = "github.com/prometheus-operator/prometheus-operator"
)

// kubeconform accepts the chart's output, with every option on and with none. No kind is skipped:
// the schemas are those of the real API server and of the definitions of the custom resources.
func TestKubeconformAcceptsTheChart(t *testing.T) {
	g := gomega(t)
	for name, options := range map[string][]string{
		"with every option": {"--values", "testdata/every-option.yaml"},
		"with none":         nil,
	} {
		rendered := renderChart(t, options)
		found := runKubeconform(t, writeSchemas(t, rendered), rendered)
		g.Expect(found.problems()).To(BeEmpty(), name)
		g.Expect(found.Summary.Valid).To(Equal(strings.Count(rendered, "\nkind: ")), name)
		g.Expect(found.Summary.Skipped).To(BeZero(), name)
		t.Logf("%s: %d objects", name, found.Summary.Valid)
	}
}

// kubeconform refuses mistakes that are easily made in a template.
func TestKubeconformRefusesMistakes(t *testing.T) {
	rendered := renderChart(t, []string{"--values", "testdata/every-option.yaml"})
	schemas := writeSchemas(t, rendered)
	for name, test := range map[string]struct{ right, wrong, problem string }{
		"a field that does not exist":           {"imagePullPolicy: Always", "imagePullPolicie: Always", "'imagePullPolicie' not allowed"},
		"another type":                          {"replicas: 3", `replicas: "3"`, "want integer"},
		"a field twice":                         {"replicas: 3", "replicas: 3\n  replicas: 3", `key "replicas" already set`},
		"a field of a policy":                   {"mode: Audit", "modus: Audit", "'modus' not allowed"},
		"a value of a policy":                   {"mode: Audit", "mode: Audited", "must be one of 'Audit', 'Enforce'"},
		"a field of the Prometheus operator":    {"alert: CpnpNoLeader", "alarm: CpnpNoLeader", "'alarm' not allowed"},
		"a version that is not served any more": {"apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n", "could not find schema for PodDisruptionBudget"},
	} {
		t.Run(name, func(t *testing.T) {
			g := gomega(t)
			g.Expect(rendered).To(ContainSubstring(test.right))
			mistaken := strings.Replace(rendered, test.right, test.wrong, 1)
			g.Expect(runKubeconform(t, schemas, mistaken).problems()).To(ConsistOf(ContainSubstring(test.problem)))
		})
	}
}

func renderChart(t *testing.T, options []string) string {
	t.Helper()
	out, err := runHelm(t.Context(), append([]string{"template", release, chart, "--namespace", namespace}, options...)...)
	gomega(t).Expect(err).NotTo(HaveOccurred(), out)
	return out
}

// conformity is the output of kubeconform.
type conformity struct {
	Resources []struct{ Kind, Name, Msg string }
	Summary   struct{ Valid, Invalid, Errors, Skipped int }
}

func (c conformity) problems() []string {
	var all []string
	for _, r := range c.Resources {
		all = append(all, r.Kind+" "+r.Name+": "+r.Msg)
	}
	return all
}

// runKubeconform compares manifests with the schemas in a folder.
func runKubeconform(t *testing.T, schemas, manifests string) conformity {
	t.Helper()
	g := gomega(t)
	location := filepath.Join(schemas, schemaFile)
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile="+absolute("../../hack/tools/go.mod"), "kubeconform",
		"-strict", "-summary", "-output", "json", "-schema-location", location, "-")
	cmd.Stdin = strings.NewReader(manifests)
	out, err := cmd.Output()
	found := conformity{}
	g.Expect(json.Unmarshal(out, &found)).To(Succeed(), "%s: %v", out, err)
	return found
}

// writeSchemas writes a schema for each kind of the manifests, and returns the folder.
func writeSchemas(t *testing.T, manifests string) string {
	t.Helper()
	g, folder := gomega(t), t.TempDir()
	definitions := readDefinitions(t)
	for kind := range kindsOf(t, manifests) {
		text, err := []byte(nil), error(nil)
		if definition, custom := definitions[kind.GroupKind()]; custom {
			text, err = jsonschema.OfDefinition(definition, kind.Version)
		} else {
			text, err = jsonschema.OfKind(readOpenAPI(t, kind.GroupVersion()), kind)
		}
		g.Expect(err).NotTo(HaveOccurred())
		group := kind.Group
		if group == "" {
			group = kind.Version
		}
		file := filepath.Join(folder, group, kind.Version, strings.ToLower(kind.Kind)+".json")
		g.Expect(os.MkdirAll(filepath.Dir(file), 0o755)).To(Succeed())
		g.Expect(os.WriteFile(file, text, 0o600)).To(Succeed())
	}
	return folder
}

func kindsOf(t *testing.T, manifests string) map[schema.GroupVersionKind]bool {
	t.Helper()
	kinds := map[schema.GroupVersionKind]bool{}
	for _, document := range strings.Split("\n"+manifests, "\n---\n") {
		object := metav1.TypeMeta{}
		gomega(t).Expect(yaml.Unmarshal([]byte(document), &object)).To(Succeed(), document)
		if object.Kind != "" {
			kinds[object.GroupVersionKind()] = true
		}
	}
	return kinds
}

// readOpenAPI returns the document of the real API server.
func readOpenAPI(t *testing.T, version schema.GroupVersion) []byte {
	t.Helper()
	path := "apis/" + version.String()
	if version.Group == "" {
		path = "api/" + version.Version
	}
	out, err := cluster.Kubectl(t.Context(), "get", "--raw", "/openapi/v3/"+path).Output()
	gomega(t).Expect(err).NotTo(HaveOccurred(), path)
	return out
}

// readDefinitions returns the definitions of the custom resources that the chart may render.
func readDefinitions(t *testing.T) map[schema.GroupKind]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	g := gomega(t)
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", prometheusOperator)
	list.Dir = "../monitoring"
	module, err := list.Output()
	g.Expect(err).NotTo(HaveOccurred())
	foreign, err := filepath.Glob(strings.TrimSpace(string(module)) + "/example/prometheus-operator-crd/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	definitions := map[schema.GroupKind]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range append(files, foreign...) {
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		definition := &apiextensionsv1.CustomResourceDefinition{}
		g.Expect(yaml.Unmarshal(text, definition)).To(Succeed(), file)
		definitions[schema.GroupKind{Group: definition.Spec.Group, Kind: definition.Spec.Names.Kind}] = definition
	}
	return definitions
}
