// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

// document matches a YAML document: a whole block, or the input of a command.
var document = regexp.MustCompile(`(?s)<<'?(\w+)'?\n(.*?)\n(\w+)(?:\n|$)`)

// Every policy in the pages has only existing fields.
func TestPoliciesOfThePagesAreOfTheAPI(t *testing.T) {
	policies := 0
	for name, text := range readWrittenPages(t) {
		for _, block := range page.FindBlocks(text) {
			for _, text := range documentsOf(block) {
				if !strings.Contains(text, "apiVersion: cpnp.dev/v1alpha1") || !strings.Contains(text, "kind: ControlPlaneNetworkPolicy") {
					continue
				}
				policies++
				if err := yaml.UnmarshalStrict([]byte(text), &v1alpha1.ControlPlaneNetworkPolicy{}); err != nil {
					t.Errorf("%s, line %d: %v", name, block.Line, err)
				}
			}
		}
	}
	NewWithT(t).Expect(policies).To(BeNumerically(">", 3))
}

func documentsOf(block page.Block) []string {
	if block.Language == "yaml" {
		return strings.Split(block.Text, "\n---\n")
	}
	var documents []string
	for _, match := range document.FindAllStringSubmatch(block.Text, -1) {
		documents = append(documents, match[2])
	}
	return documents
}

// foreignFields are fields of Nodes, Services and other objects, in the same form as those of the operator's kinds.
var foreignFields = map[string]bool{
	"spec.podCIDRs": true, "spec.providerID": true, "status.addresses": true, "status.daemonEndpoints": true,
	"spec.controllers.node.hostEndpoint.autoCreate": true, "spec.ipv6Support": true, "spec.stagedAction": true,
	"status.lastSuccessfulTime": true, "spec.renewTime": true, "status.creationTime": true, "spec.backup.store": true,
}

// Every field of a spec or a status is in one of the definitions.
func TestFieldsOfThePagesExist(t *testing.T) {
	schemas := definitions(t)
	form := regexp.MustCompile(`^(?:spec|status)(?:\.[a-zA-Z0-9]+)+`)
	fields := 0
	for name, text := range readWrittenPages(t) {
		for _, code := range page.FindCode(text) {
			field := form.FindString(code)
			if field == "" || foreignFields[field] {
				continue
			}
			fields++
			known := false
			for _, schema := range schemas {
				known = known || hasField(schema, strings.Split(field, "."))
			}
			if !known {
				t.Errorf("%s: no kind has the field %s", name, field)
			}
		}
	}
	NewWithT(t).Expect(fields).To(BeNumerically(">", 50))
}

func definitions(t *testing.T) []*apiextensionsv1.JSONSchemaProps {
	t.Helper()
	var schemas []*apiextensionsv1.JSONSchemaProps
	walkFiles(t, root+"/config/crd/bases", []string{".yaml"}, func(path, text string) {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		NewWithT(t).Expect(yaml.Unmarshal([]byte(text), crd)).To(Succeed(), path)
		schemas = append(schemas, crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
	})
	NewWithT(t).Expect(schemas).To(HaveLen(4))
	return schemas
}

// hasField tells whether a schema has a field; the fields of a list are those of its items.
func hasField(schema *apiextensionsv1.JSONSchemaProps, path []string) bool {
	for schema.Items != nil {
		schema = schema.Items.Schema
	}
	if len(path) == 0 {
		return true
	}
	field, found := schema.Properties[path[0]]
	return found && hasField(&field, path[1:])
}

// Every value that a command sets exists in the chart.
func TestValuesOfThePagesExist(t *testing.T) {
	g := NewWithT(t)
	values := map[string]any{}
	g.Expect(yaml.Unmarshal([]byte(readSource(t, []string{"values.yaml"}, "charts")), &values)).To(Succeed())
	pattern := regexp.MustCompile(`--set(?:-string)? ([a-zA-Z.]+)=`)
	found := 0
	for name, text := range readPages(t) {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			found++
			var at any = values
			for _, key := range strings.Split(match[1], ".") {
				fields, is := at.(map[string]any)
				if is && len(fields) == 0 { // the keys are the user's, such as those of labels
					break
				}
				value, known := fields[key]
				if at = value; !is || !known {
					t.Errorf("%s: the chart has no value %s", name, match[1])
					break
				}
			}
		}
	}
	g.Expect(found).To(BeNumerically(">", 2))
}

// A shell can parse every block of commands.
func TestCommandsOfThePagesParse(t *testing.T) {
	bash, err := exec.LookPath("bash")
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), "install bash, which the Makefile needs as well")
	for name, text := range readPages(t) {
		for _, block := range page.FindBlocks(text) {
			if block.Language != "sh" {
				continue
			}
			command := exec.CommandContext(t.Context(), bash, "-n")
			command.Stdin = strings.NewReader(block.Text)
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s, line %d: %s", name, block.Line, out)
			}
		}
	}
}
