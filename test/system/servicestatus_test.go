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

// serviceStatusWriter returns a client that may write the status of Services, as
// controllers of load balancers do, and no more.
func (s *story) serviceStatusWriter() client.Client {
	s.t.Helper()
	name := s.name + "-service-status-writer"
	return s.userWith(name, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"services/status"}, Verbs: []string{"patch", "update"}})
}

// Whoever may write the status of Services alone can write their annotations as well, and
// so the record: the operator puts it right, and restores what it remembers.
func TestRecordThatAWriterOfStatusForges(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	web := testbed.Service(s.name, "web", corev1.ServiceTypeNodePort, testbed.ServiceLabels(s.label()))
	web.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.create(web, s.onlyServices(external(corev1.ServiceExternalTrafficPolicyCluster)))
	writer := s.serviceStatusWriter()
	stop := s.operator()
	s.ready(s.name)
	patch := func(patch client.Patch) error { return writer.Status().Patch(s.ctx, web.DeepCopy(), patch) }
	s.Eventually(func() error {
		return patch(client.RawPatch(types.MergePatchType, []byte(`{"spec":{"externalTrafficPolicy":"Local"}}`)))
	}).Should(Succeed())
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster), "it may not do so itself")
	record := func() string { return s.serviceNow("web").Annotations[v1alpha1.AnnotationRecord] }
	genuine := record()
	s.Expect(genuine).To(ContainSubstring(`"original":"Local"`))
	forged := annotate(v1alpha1.AnnotationRecord, strings.ReplaceAll(genuine, `"original":"Local"`, `"original":"Cluster"`))

	s.Expect(patch(forged)).To(Succeed(), "the API server lets who may write the status write annotations")
	s.Eventually(record).Should(Equal(genuine), "it is put right")
	s.delete(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))

	// What is forged while no operator runs is taken for what there was. The most that
	// comes of it is another value that the API admits for a field that a policy declares.
	s.create(s.onlyServices(external(corev1.ServiceExternalTrafficPolicyCluster)))
	s.ready(s.name)
	stop()
	s.Expect(patch(forged)).To(Succeed())
	s.operator()
	s.delete(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
}
