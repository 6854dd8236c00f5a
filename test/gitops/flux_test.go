// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	helmv2 "github.com/fluxcd/helm-controller/api/v2"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// Every document decodes strictly into the type of its kind: no field is unknown.
func TestFluxKnowsItsExamples(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{helmv2.AddToScheme, kustomizev1.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	files, err := filepath.Glob("../../examples/gitops/flux/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			object, kind, err := decoder.Decode([]byte(document), nil, nil)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			kinds[kind.Kind]++
			checkFlux(t, file, object)
		}
	}
	if kinds["HelmRelease"] != 1 || kinds["OCIRepository"] != 1 || kinds["Kustomization"] != 2 {
		t.Errorf("the examples have %v", kinds)
	}
}

// checkFlux checks the promises of the examples: Flux applies policies after
// the operator, waits for them and deletes them.
func checkFlux(t *testing.T, file string, object runtime.Object) {
	t.Helper()
	policies, is := object.(*kustomizev1.Kustomization)
	if !is || policies.Name != "cpnp-policies" {
		return
	}
	if len(policies.Spec.DependsOn) != 1 || policies.Spec.DependsOn[0].Name != "cpnp-operator" || !policies.Spec.Wait || !policies.Spec.Prune {
		t.Errorf("%s: the policies do not wait for the operator", file)
	}
}
