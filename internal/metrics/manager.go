// SPDX-License-Identifier: Apache-2.0

package metrics

import "strings"

// Managers that are not among knownManagers.
const (
	managerUnknown = "unknown" // the object does not tell who wrote the field
	managerOther   = "other"
)

// knownManagers are the field managers that become a label value unchanged. Any client can
// invent a name, and every further name would be a series.
var knownManagers = map[string]bool{
	"argocd-controller": true, "argocd-application-controller": true,
	"kustomize-controller": true, "helm-controller": true, "helm": true,
	"kube-controller-manager": true, "cloud-controller-manager": true, "kubelet": true, "kube-apiserver": true,
}

// managerFamilies are the beginnings of names that share a label value, such as
// kubectl-edit and kubectl-patch, or the managers of the operator's concerns.
var managerFamilies = []struct{ prefix, label string }{
	{"kubectl", "kubectl"},
	{"cpnp.dev/", "cpnp.dev"},
}

// managerLabel returns the label value for the name of a field manager.
func managerLabel(name string) string {
	switch {
	case name == "":
		return managerUnknown
	case knownManagers[name]:
		return name
	}
	for _, family := range managerFamilies {
		if strings.HasPrefix(name, family.prefix) {
			return family.label
		}
	}
	return managerOther
}
