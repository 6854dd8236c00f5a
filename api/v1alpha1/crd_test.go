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
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

// complete are the kinds, each with a file in testdata/accepted that has every field of the kind.
var complete = map[string]string{
	"ControlPlaneNetworkPolicy": "everything.yaml",
	"ControlPlaneNodeEnactment": "enactment.yaml",
	"ControlPlaneNodePosture":   "posture.yaml",
	"ControlPlaneNodeRecord":    "node-record.yaml",
}

// alternatives are further files, for fields that exclude each other.
var alternatives = map[string][]string{
	"ControlPlaneNetworkPolicy": {"backup-lease.yaml", "backup-annotation.yaml", "backup-etcd-druid.yaml", "backup-snapshot-files.yaml"},
}

// withField returns the stored object of the kind that has a field, and its file.
func withField(t *testing.T, kinds crd.Kinds, name, path string) (object map[string]any, file string) {
	t.Helper()
	same := func(value any) any { return value }
	for _, file := range append([]string{complete[name]}, alternatives[name]...) {
		if object := stored(t, kinds, file); change(object, strings.Split(path, "."), same) {
			return object, file
		}
	}
	return stored(t, kinds, complete[name]), complete[name]
}

// kinds loads the definitions, and fails where an API server would refuse one.
func kinds(t *testing.T) crd.Kinds {
	t.Helper()
	kinds, err := crd.Load("../../config/crd/bases")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return kinds
}

// kindOf returns the kind of that name.
func kindOf(kinds crd.Kinds, name string) *crd.Kind {
	return kinds[v1alpha1.SchemeGroupVersion.WithKind(name)]
}

// documents returns the objects of these kinds in the files that a pattern
// matches.
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
			for kind := range complete {
				if strings.Contains(document, "\nkind: "+kind+"\n") {
					found[fmt.Sprintf("%s#%d", filepath.Base(path), i)] = document
				}
			}
		}
	}
	return found
}

func TestAPIServerAcceptsEveryExample(t *testing.T) {
	kinds, scheme := kinds(t), runtime.NewScheme()
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	examples := inPages(t, "../../README.md", "../../docs/*.md")
	NewWithT(t).Expect(len(examples)).To(BeNumerically(">=", 3))
	for _, folder := range []string{"testdata/accepted", "../../config/samples", "../../internal/plan/testdata"} {
		for name, document := range documents(t, filepath.Join(folder, "*.yaml")) {
			examples[filepath.Base(folder)+"/"+name] = document
		}
	}
	for name, document := range examples {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			object, errs := kinds.Create([]byte(document))
			g.Expect(errs).To(BeEmpty())
			typed, err := scheme.New(v1alpha1.SchemeGroupVersion.WithKind(object["kind"].(string)))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object, typed, true)).
				To(Succeed(), "the types know every field of the definition")
			again, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(kinds.Check(again)).To(BeEmpty(), "the object as the Go types encode it can be written")
		})
	}
}

// inPages returns the objects in the documentation, by page and number.
func inPages(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range patterns {
		pages, err := filepath.Glob(pattern)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		for _, page := range pages {
			text, err := os.ReadFile(page)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			for i, block := range strings.Split(string(text), "\n```yaml\n")[1:] {
				document, _, _ := strings.Cut(block, "\n```")
				if !strings.Contains(document, "apiVersion: cpnp.dev/") {
					continue // of a foreign kind, or values of the chart
				}
				found[fmt.Sprintf("%s#%d", filepath.Base(page), i)] = document
			}
		}
	}
	return found
}

// stored returns the object that an API server stores for a file in testdata/accepted.
func stored(t *testing.T, kinds crd.Kinds, file string) map[string]any {
	t.Helper()
	g := NewWithT(t)
	document, err := os.ReadFile(filepath.Join("testdata/accepted", file))
	g.Expect(err).NotTo(HaveOccurred())
	object, errs := kinds.Create(document)
	g.Expect(errs).To(BeEmpty())
	return object
}

// created returns the policy that an API server stores for such a file.
func created(t *testing.T, file string) v1alpha1.ControlPlaneNetworkPolicy {
	t.Helper()
	var policy v1alpha1.ControlPlaneNetworkPolicy
	NewWithT(t).Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(stored(t, kinds(t), file), &policy)).To(Succeed())
	return policy
}

func TestDefaultsAreTheSafeOnes(t *testing.T) {
	g := NewWithT(t)
	spec := created(t, "smallest.yaml").Spec
	g.Expect(spec.Mode).To(Equal(v1alpha1.ModeAudit))
	g.Expect(spec.Suspend).To(BeFalse())
	g.Expect(spec.DeletionPolicy).To(Equal(v1alpha1.DeletionRevert))
	g.Expect(spec.Profile).To(Equal(v1alpha1.Profile{
		Distribution: v1alpha1.DistributionAuto, CNI: v1alpha1.CNIAuto,
		LoadBalancer: v1alpha1.LoadBalancerAuto, NetworkPolicies: v1alpha1.NetworkPoliciesAuto,
	}))
	g.Expect(spec.Network).To(BeNil())
	g.Expect(spec.Rollout).To(Equal(&v1alpha1.Rollout{
		MaxUnavailable: 1, SoakSeconds: ptr.To[int32](60), Confirm: v1alpha1.ConfirmAuto, TimeoutSeconds: 120,
	}))

	network := created(t, "dedicated-network.yaml").Spec.Network
	g.Expect(network.HostBackend).To(Equal(v1alpha1.HostBackendAuto))
	g.Expect(network.Unlisted).To(Equal(v1alpha1.UnlistedPass))
	g.Expect(network.Failsafe).To(Equal(v1alpha1.FailsafeKeep))
}

func TestComponentWithoutPodsIsOnHosts(t *testing.T) {
	onHosts := map[string]bool{}
	for _, component := range created(t, "everything.yaml").Spec.Network.Components {
		onHosts[component.Name] = component.OnHosts()
	}
	NewWithT(t).Expect(onHosts).To(Equal(map[string]bool{"coredns": false, "etcd": true}))
}
