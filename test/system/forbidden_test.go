// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// forbidByAdmission makes admission refuse objects that do not meet the expression, until
// the test ends: objects in the story's namespace, or without a namespace.
func (s *story) forbidByAdmission(operation admissionv1.OperationType, what admissionv1.Rule, expression, message string) {
	s.t.Helper()
	meta := metav1.ObjectMeta{GenerateName: s.name + "-"}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy: ptr.To(admissionv1.Fail),
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.name}},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{operation}, Rule: what,
			}}},
		},
		Validations: []admissionv1.Validation{{Expression: expression, Message: message}},
	}}
	s.createObjects(policy)
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	s.createObjects(binding)
	s.t.Cleanup(func() {
		for _, object := range []client.Object{binding, policy} {
			if err := s.admin.Delete(context.Background(), object); err != nil {
				s.t.Error(err)
			}
		}
	})
}

// Objects that admission does not let the operator delete are reported while the
// operator retries, and orphaned after some time: then the policy is deleted.
func TestForbiddenDeletionDelaysNoPolicyForever(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	policy := s.newPolicy()
	policy.Spec.Services = nil
	s.createObjects(policy)
	s.startOperator()
	s.waitUntilReady(s.name)
	ours := s.networkPolicyOf("coredns")
	rule := func(group, version, resource string) admissionv1.Rule {
		return admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}}
	}
	s.forbidByAdmission(admissionv1.Delete, rule(networkingv1.GroupName, "v1", "networkpolicies"), "false", "network policies stay here")
	s.forbidByAdmission(admissionv1.Delete, rule(v1alpha1.SchemeGroupVersion.Group, "*", "controlplanenoderecords"),
		"oldObject.metadata.name != '"+node+"'", "records stay here")
	record := &v1alpha1.ControlPlaneNodeRecord{ObjectMeta: metav1.ObjectMeta{Name: node}}
	for _, object := range []client.Object{ours, record} { // admission takes effect after a moment
		s.Eventually(func() error { return s.admin.Delete(s.ctx, object, client.DryRunAll) }).ShouldNot(Succeed())
	}

	s.Expect(s.admin.Delete(s.ctx, s.getPolicy(s.name))).To(Succeed())
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(And(
		ContainSubstring("NetworkPolicy/"+s.name+"/"+ours.Name), ContainSubstring("network policies stay here"), ContainSubstring("make the API server accept the change")))
	s.waitUntilGone(s.name)
	s.Expect(s.taintsOf(node)()).To(BeEmpty(), "everything else is restored")
	s.Eventually(s.eventsOf(s.name)).Should(ContainElements(
		And(HaveField("Reason", "Orphaned"), HaveField("Note", ContainSubstring("kubectl delete networkpolicies.networking.k8s.io -n "+s.name+" "+ours.Name))),
		And(HaveField("Reason", "NotRestored"), HaveField("Note", And(ContainSubstring("Node/"+node), ContainSubstring("records stay here")))),
	))
	s.Expect(s.networkPolicyOf("coredns").UID).To(Equal(ours.UID))
}
