// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// kubeletLabels are the prefixes of the labels under kubernetes.io and k8s.io that a
// kubelet may set on its own Node. All other labels of the two domains are refused, and
// labels of other domains are allowed
// (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction).
var kubeletLabels = []string{
	"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/instance-type",
	"beta.kubernetes.io/os", "beta.kubernetes.io/arch", "failure-domain.beta.kubernetes.io/", "failure-domain.kubernetes.io/",
	"topology.kubernetes.io/", "kubelet.kubernetes.io/", "node.kubernetes.io/",
}

// kubeletMaySet tells whether a kubelet may set the label on its own Node.
func kubeletMaySet(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	reserved := false
	for _, suffix := range []string{"kubernetes.io", "k8s.io"} {
		reserved = reserved || domain == suffix || strings.HasSuffix(domain, "."+suffix)
	}
	return !reserved || slices.ContainsFunc(kubeletLabels, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// selfSelected returns a warning if any kubelet can make the policy select its node. A
// selected node counts as control plane and is let in to etcd.
func (p *Policy) selfSelected() string {
	selector := p.Spec.NodeSelector
	keys := slices.Sorted(maps.Keys(selector.MatchLabels))
	for _, e := range selector.MatchExpressions {
		if e.Operator == "In" || e.Operator == "Exists" {
			keys = append(keys, e.Key)
		}
	}
	if slices.ContainsFunc(keys, func(key string) bool { return !kubeletMaySet(key) }) {
		return ""
	}
	which := "no label at all"
	if len(keys) > 0 {
		which = "labels that every kubelet can give its own node (" + wording.ListNames(keys) + ")"
	}
	return "spec.nodeSelector selects by " + which + ", and every selected node counts as control plane and may connect to etcd: " +
		"select by node-role.kubernetes.io/control-plane as well, or by a label under node-restriction.kubernetes.io, which kubelets cannot set"
}
