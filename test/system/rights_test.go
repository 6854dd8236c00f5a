// SPDX-License-Identifier: Apache-2.0

package system

import (
	"net/http"
	"os"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

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
	s.delete(s.name)

	used := s.rightsUsed(mark)
	for _, right := range s.rightsShipped() {
		s.Expect(used).To(ContainElement(right), "a right that is shipped and never used")
		used = slices.DeleteFunc(used, func(r string) bool { return r == right })
	}
	s.Expect(used).To(BeEmpty(), "what was asked for without a right to it")
}

// rightsShipped returns the rules of the shipped role as "verb group/resource".
// Those to events are left out: how a recorder sums up repeated events, and in
// which of the two groups, is its own affair.
func (s *story) rightsShipped() []string {
	text, err := os.ReadFile("../../config/rbac/role.yaml")
	s.Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	s.Expect(yaml.UnmarshalStrict(text, role)).To(Succeed())
	var rights []string
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					if resource != "events" {
						rights = append(rights, verb+" "+group+"/"+resource)
					}
				}
			}
		}
	}
	return rights
}

// rightsUsed returns what the operator has asked for after the mark, in the same
// form. An apply that creates needs the right to create as well, and a
// watch that to list, which is the way of servers that do not stream lists.
func (s *story) rightsUsed(mark testbed.Mark) []string {
	logged, err := cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	var used []string
	for _, e := range logged {
		if e.User != operatorUser || e.Resource == "" || e.Resource == "events" {
			continue
		}
		resource := e.Group + "/" + e.Resource
		if e.Subresource != "" {
			resource += "/" + e.Subresource
		}
		used = append(used, e.Verb+" "+resource)
		switch {
		case e.Verb == "patch" && e.Code == http.StatusCreated:
			used = append(used, "create "+resource)
		case e.Verb == "watch":
			used = append(used, "list "+resource)
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}
