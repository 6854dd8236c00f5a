// SPDX-License-Identifier: Apache-2.0

// Package examples checks examples/ and the order of installation against Argo CD's types and rules.
package examples

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

const (
	root    = "../.."
	argoCD  = "github.com/argoproj/argo-cd/v3@v3.5.7"
	release = "cpnp-operator"
	wave    = "argocd.argoproj.io/sync-wave"
)

// documentsOf returns the documents of a text in YAML.
func documentsOf(g *WithT, text string) []unstructured.Unstructured {
	var objects []unstructured.Unstructured
	for _, document := range strings.Split("\n"+text, "\n---") {
		object := unstructured.Unstructured{}
		g.Expect(yaml.Unmarshal([]byte(document), &object.Object)).To(Succeed())
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}

func runGo(t *testing.T, arguments ...string) string {
	t.Helper()
	cmd := exec.Command("go", arguments...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v: %s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// The definitions are those of Argo CD's module.
func TestArgoCDAcceptsItsExamples(t *testing.T) {
	g := NewWithT(t)
	module := struct{ Dir string }{}
	g.Expect(json.Unmarshal([]byte(runGo(t, "mod", "download", "-json", argoCD)), &module)).To(Succeed())
	kinds := definitionsOf(g, filepath.Join(module.Dir, "manifests", "crds"))
	files, err := filepath.Glob(filepath.Join(root, "examples", "gitops", "argo-cd", "*.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		for _, object := range documentsOf(g, string(text)) {
			if object.GroupVersionKind().Group != "argoproj.io" {
				continue
			}
			document, err := yaml.Marshal(object.Object)
			g.Expect(err).NotTo(HaveOccurred())
			_, errs := kinds.Create(document)
			g.Expect(errs).To(BeEmpty(), file)
			checked++
		}
	}
	g.Expect(checked).To(Equal(3))
}

// definitionsOf loads definitions without kustomization.yaml, which is in their folder.
func definitionsOf(g *WithT, folder string) crd.Kinds {
	kinds, err := crd.LoadFiles(
		filepath.Join(folder, "application-crd.yaml"), filepath.Join(folder, "appproject-crd.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	return kinds
}

// Argo CD creates lower waves first, and deletes higher waves first. An object
// without a wave is in wave 0, like the policies of a user.
func TestOperatorIsInstalledBeforePoliciesAndDeletedAfterThem(t *testing.T) {
	manifests := map[string]string{
		"config/default": runGo(t, "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", "config/default"),
		"the chart": runGo(t, "tool", "-modfile=hack/helm/go.mod", "helm", "template", release, "charts/cpnp-operator", "--namespace", "cpnp-system",
			"--set", "policies.plane.nodeSelector.matchLabels.a=b,policies.plane.taints[0].key=a,policies.plane.taints[0].effect=NoSchedule"),
	}
	for name, text := range manifests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			needed := map[string]int{"CustomResourceDefinition": 0, "ServiceAccount": 0, "ClusterRole": 0, "ClusterRoleBinding": 0, "Role": 0, "RoleBinding": 0, "Deployment": 0}
			for _, object := range documentsOf(g, text) {
				_, hook := object.GetAnnotations()["helm.sh/hook"]
				switch kind := object.GetKind(); {
				case hook:
				case kind == "ControlPlaneNetworkPolicy":
					g.Expect(waveOf(g, object)).To(BeNumerically(">=", 0))
				case needed[kind] >= 0 && isOperators(object):
					if _, counted := needed[kind]; counted {
						needed[kind]++
						g.Expect(waveOf(g, object)).To(BeNumerically("<", 0), "%s %s", kind, object.GetName())
					}
				}
			}
			for kind, count := range needed {
				g.Expect(count).To(BeNumerically(">", 0), kind)
			}
		})
	}
}

// isOperators tells whether the operator needs the object. It does not need the roles for people.
func isOperators(object unstructured.Unstructured) bool {
	for _, forPeople := range []string{"-policy-", "-controlplanenetworkpolicy-", "metrics-reader"} {
		if strings.Contains(object.GetName(), forPeople) {
			return false
		}
	}
	return true
}

func waveOf(g *WithT, object unstructured.Unstructured) int {
	text, set := object.GetAnnotations()[wave]
	if !set {
		return 0
	}
	number, err := strconv.Atoi(text)
	g.Expect(err).NotTo(HaveOccurred())
	return number
}

// The example of orphaned resources ignores the objects that the operator makes in namespaces.
func TestExampleKnowsTheNamesOfTheOperator(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile(filepath.Join(root, "examples", "gitops", "argo-cd", "project.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	ignored, _, err := unstructured.NestedSlice(documentsOf(g, string(text))[0].Object, "spec", "orphanedResources", "ignore")
	g.Expect(err).NotTo(HaveOccurred())
	var names []string
	for _, entry := range ignored {
		names = append(names, entry.(map[string]any)["kind"].(string)+"/"+entry.(map[string]any)["name"].(string))
	}
	g.Expect(names).To(ConsistOf("Lease/"+leaseName(g), "NetworkPolicy/cpnp.*"))
	services, err := os.ReadFile(filepath.Join(root, "examples", "gitops", "argo-cd", "services.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(services)).To(ContainSubstring("managedFieldsManagers: [" + v1alpha1.FieldManagerServices + "]"))
}

// leaseName returns the name of the lease to which the operator has a right.
func leaseName(g *WithT) string {
	text, err := os.ReadFile(filepath.Join(root, "config", "rbac", "leader_election_role.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	rules, _, _ := unstructured.NestedSlice(documentsOf(g, string(text))[0].Object, "rules")
	names, _, _ := unstructured.NestedStringSlice(rules[1].(map[string]any), "resourceNames")
	return names[0]
}
