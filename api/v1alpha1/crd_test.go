// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

var gvk = v1alpha1.SchemeGroupVersion.WithKind("ControlPlaneNetworkPolicy")

// kinds loads the definition, and fails where an API server would refuse it.
func kinds(t *testing.T) crd.Kinds {
	t.Helper()
	kinds, err := crd.Load("../../config/crd/bases")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return kinds
}

// documents returns the policies in the files that a pattern matches.
func documents(t *testing.T, pattern string) map[string]string {
	t.Helper()
	g := NewWithT(t)
	paths, err := filepath.Glob(pattern)
	g.Expect(err).NotTo(HaveOccurred())
	found := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		g.Expect(err).NotTo(HaveOccurred())
		for i, document := range strings.Split("\n"+string(text), "\n---\n") {
			if strings.Contains(document, "\nkind: "+gvk.Kind+"\n") {
				found[fmt.Sprintf("%s#%d", filepath.Base(path), i)] = document
			}
		}
	}
	return found
}

func TestAPIServerAcceptsEveryExample(t *testing.T) {
	kinds := kinds(t)
	for _, folder := range []string{"testdata/accepted", "../../config/samples", "../../internal/plan/testdata"} {
		for name, document := range documents(t, filepath.Join(folder, "*.yaml")) {
			t.Run(filepath.Base(folder)+"/"+name, func(t *testing.T) {
				g := NewWithT(t)
				object, errs := kinds.Create([]byte(document))
				g.Expect(errs).To(BeEmpty())
				var policy v1alpha1.ControlPlaneNetworkPolicy
				g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, &policy, true)).
					To(Succeed(), "the types know every field of the definition")
				again, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&policy)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(kinds.Check(again)).To(BeEmpty(), "what the types make of it can be written back")
			})
		}
	}
}

func TestDefaultsAreTheSafeOnes(t *testing.T) {
	g := NewWithT(t)
	document, err := os.ReadFile("testdata/accepted/smallest.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	object, errs := kinds(t).Create(document)
	g.Expect(errs).To(BeEmpty())
	var policy v1alpha1.ControlPlaneNetworkPolicy
	g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object, &policy)).To(Succeed())
	g.Expect(policy.Spec.Mode).To(Equal(v1alpha1.ModeAudit))
	g.Expect(policy.Spec.Suspend).To(BeFalse())
	g.Expect(policy.Spec.DeletionPolicy).To(Equal(v1alpha1.DeletionRevert))
}
