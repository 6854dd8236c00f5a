// SPDX-License-Identifier: Apache-2.0

package system

import (
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/discovery"
)

// schemaOf returns a definition of the API server, with its parts.
func (p *place) schemaOf(t *testing.T, groupVersion, name string) map[string]any {
	t.Helper()
	g := NewWithT(t)
	client, err := discovery.NewDiscoveryClientForConfig(p.cluster.Config)
	g.Expect(err).NotTo(HaveOccurred())
	paths, err := client.OpenAPIV3().Paths()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(paths).To(HaveKey(groupVersion))
	text, err := paths[groupVersion].Schema("application/json")
	g.Expect(err).NotTo(HaveOccurred())
	var document struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	g.Expect(json.Unmarshal(text, &document)).To(Succeed())
	for full, schema := range document.Components.Schemas {
		if strings.HasSuffix(full, "."+name) {
			return schema
		}
	}
	t.Fatalf("the API server knows no %s", name)
	return nil
}

// listType returns how a server-side apply merges a field: "" for a scalar.
func listType(t *testing.T, schema map[string]any, field string) string {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	property, found := properties[field].(map[string]any)
	NewWithT(t).Expect(found).To(BeTrue(), field)
	kind, _ := property["x-kubernetes-list-type"].(string)
	if property["type"] == "array" && kind == "" {
		return "atomic" // the default type of a list
	}
	return kind
}

// How the API merges lists decides what an apply, or a patch, leaves of foreign items
// (docs/design.md): no written list of Kubernetes' own kinds is a set or a map.
func TestListsThatAreWrittenAreAtomic(t *testing.T) {
	g, p := NewWithT(t), usePlace(t)
	policy := p.schemaOf(t, "apis/networking.k8s.io/v1", "v1.NetworkPolicySpec")
	for _, field := range []string{"ingress", "egress", "policyTypes"} {
		g.Expect(listType(t, policy, field)).To(Equal("atomic"), field)
	}
	selector := p.schemaOf(t, "apis/networking.k8s.io/v1", "v1.LabelSelector")
	g.Expect(selector).To(HaveKeyWithValue("x-kubernetes-map-type", "atomic"))
	g.Expect(listType(t, p.schemaOf(t, "api/v1", "v1.NodeSpec"), "taints")).To(Equal("atomic"))
	service := p.schemaOf(t, "api/v1", "v1.ServiceSpec")
	for _, field := range []string{"externalTrafficPolicy", "internalTrafficPolicy", "trafficDistribution"} {
		g.Expect(listType(t, service, field)).To(BeEmpty(), field)
	}
}
