// SPDX-License-Identifier: Apache-2.0

package system

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// serviceStatusWriter returns a client with the single right to write the status of
// Services, as controllers of load balancers have.
func (s *story) serviceStatusWriter() client.Client {
	s.t.Helper()
	name := s.name + "-service-status-writer"
	return s.userWith(name, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services/status"}, Verbs: []string{"patch", "update"}})
}

// A user with the single right to write the status of Services can also write their
// annotations, and therefore the record: the operator repairs the record, and restores the
// remembered original.
func TestRecordForgedByAWriterOfTheStatus(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	web := testbed.Service(s.name, "web", corev1.ServiceTypeNodePort, testbed.ServiceLabels(s.storyLabels()))
	web.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.createObjects(web, s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyCluster)))
	writer := s.serviceStatusWriter()
	stop := s.startOperator()
	s.waitUntilReady(s.name)
	patch := func(patch client.Patch) error { return writer.Status().Patch(s.ctx, web.DeepCopy(), patch) }
	s.Eventually(func() error {
		return patch(client.RawPatch(types.MergePatchType, []byte(`{"spec":{"externalTrafficPolicy":"Local"}}`)))
	}).Should(Succeed())
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster), "the user has the right to do so without the operator")
	record := func() string { return s.getService("web").Annotations[v1alpha1.AnnotationRecord] }
	genuine := record()
	s.Expect(genuine).To(ContainSubstring(`"original":"Local"`))
	forged := annotationPatch(v1alpha1.AnnotationRecord, strings.ReplaceAll(genuine, `"original":"Local"`, `"original":"Cluster"`))

	s.Expect(patch(forged)).To(Succeed(), "the API server accepts annotations from a writer of the status")
	s.Eventually(record).Should(Equal(genuine), "the record is repaired")
	s.deletePolicy(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))

	// A record that is forged while no operator runs is accepted. The worst result
	// is another value, admitted by the API, of a field that a policy declares.
	s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyCluster)))
	s.waitUntilReady(s.name)
	stop()
	s.Expect(patch(forged)).To(Succeed())
	s.startOperator()
	s.deletePolicy(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
}
