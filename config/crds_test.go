// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

// What kustomize installs has every CustomResourceDefinition.
func TestKustomizationHasEveryDefinition(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile("crd/kustomization.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	var kustomization struct{ Resources []string }
	g.Expect(yaml.Unmarshal(text, &kustomization)).To(Succeed())
	files, err := filepath.Glob("crd/bases/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(len(files)).To(BeNumerically(">", 1))
	var names []string
	for _, file := range files {
		names = append(names, "bases/"+filepath.Base(file))
	}
	g.Expect(kustomization.Resources).To(ConsistOf(names))
}
