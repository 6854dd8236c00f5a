// SPDX-License-Identifier: Apache-2.0

package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// A real API server confirms the examples of api/v1alpha1: each file has one mistake, and
// the comments before are the expected answer.
func TestMistakesAreRefusedWithAdvice(t *testing.T) {
	p := usePlace(t)
	for name, text := range readDocuments(t, "refused") {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			err := p.dryCreate(t, text)
			g.Expect(err).To(HaveOccurred())
			for line := range strings.Lines(text) {
				message, comment := strings.CutPrefix(line, "# ")
				if !comment {
					break
				}
				g.Expect(err.Error()).To(ContainSubstring(strings.TrimPrefix(strings.TrimSpace(message), "<nil>: ")))
			}
		})
	}
	for name, text := range readDocuments(t, "accepted") {
		t.Run("but not "+name, func(t *testing.T) { NewWithT(t).Expect(p.dryCreate(t, text)).To(Succeed()) })
	}
}

func readDocuments(t *testing.T, folder string) map[string]string {
	t.Helper()
	g := NewWithT(t)
	files, err := filepath.Glob("../../api/v1alpha1/testdata/" + folder + "/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(files).NotTo(BeEmpty())
	documents := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		documents[strings.TrimSuffix(filepath.Base(file), ".yaml")] = string(text)
	}
	return documents
}

// dryCreate lets the API server check a policy, as kubectl would, without storing the
// policy.
func (p *place) dryCreate(t *testing.T, text string) error {
	t.Helper()
	object := &unstructured.Unstructured{}
	NewWithT(t).Expect(yaml.Unmarshal([]byte(text), &object.Object)).To(Succeed())
	return client.WithFieldValidation(p.admin, "Strict").Create(t.Context(), object, client.DryRunAll)
}
