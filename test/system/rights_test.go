// SPDX-License-Identifier: Apache-2.0

package system

import (
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// Every right that is shipped is used, and no other is asked for.
func TestShippedRightsAreUsedAndSuffice(t *testing.T) {
	s := begin(t)
	mark := s.mark()
	node := s.nodes(1)[0]
	s.service("web", corev1.ServiceTypeClusterIP)
	policy := s.policy()
	policy.Spec.Taints = append(policy.Spec.Taints, v1alpha1.Taint{Key: "evicting", Effect: corev1.TaintEffectNoExecute, AllowEviction: true})
	policy.Spec.Mode = v1alpha1.ModeAudit
	s.create(policy)
	s.operator()
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Drifted"))
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeEnforce })
	s.ready(s.name)
	s.patch(s.node(node), "mallory", `{"spec":{"taints":[]}}`)
	s.Eventually(s.events(s.name)).Should(ContainElement(HaveField("Reason", "DriftCorrected")))
	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Taints = spec.Taints[:1] })
	s.Eventually(s.recorded(node)).Should(HaveLen(1))
	s.delete(s.name)

	logged, err := cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	shipped, err := testbed.Rights(roleFile)
	s.Expect(err).NotTo(HaveOccurred())
	used := testbed.RightsUsed(logged, operatorUser)
	for _, right := range shipped {
		needsCalico := strings.Contains(right, "projectcalico.org/") || strings.Contains(right, "/controlplanenodeenactments")
		if needsCalico && !slices.Contains(used, right) {
			continue // there is no Calico here: see test/modes
		}
		s.Expect(used).To(ContainElement(right), "a right that is shipped and never used")
		used = slices.DeleteFunc(used, func(r string) bool { return r == right })
	}
	s.Expect(used).To(BeEmpty(), "what was asked for without a right to it")
}
