// SPDX-License-Identifier: Apache-2.0

package metrics

import "testing"

func TestManagersAreABoundedList(t *testing.T) {
	for name, want := range map[string]string{
		"":                          "unknown",
		"kubectl":                   "kubectl",
		"kubectl-client-side-apply": "kubectl",
		"kubectl-taint":             "kubectl",
		"argocd-controller":         "argocd-controller",
		"kustomize-controller":      "kustomize-controller",
		"helm-controller":           "helm-controller",
		"helm":                      "helm",
		"kube-controller-manager":   "kube-controller-manager",
		"cpnp.dev/taints":           "cpnp.dev",
		"cpnp.dev.example":          "other",
		"helm-of-mallory":           "other",
		"anything":                  "other",
	} {
		if got := managerLabel(name); got != want {
			t.Errorf("the label for %q is %q instead of %q", name, got, want)
		}
	}
}
