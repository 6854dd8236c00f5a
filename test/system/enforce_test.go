// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

func TestAuditReportsAndEnforceRepairs(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(2)
	s.createService("web", corev1.ServiceTypeClusterIP)
	policy := s.newPolicy()
	policy.Spec.Mode = v1alpha1.ModeAudit
	s.createObjects(policy)
	s.startOperator()

	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("True/Audited"))
	audited := s.getPolicy(s.name)
	s.Expect(audited.Finalizers).To(BeEmpty(), "Audit writes nothing but the status")
	s.Expect(audited.Status.DriftedObjects).To(HaveValue(BeEquivalentTo(4)))
	s.Expect(s.taintsOf(nodes[0])()).To(BeEmpty())
	s.Expect(s.networkPolicies()).To(BeEmpty())

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeEnforce })
	s.waitUntilReady(s.name)
	for _, node := range nodes {
		s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated + ":NoSchedule"))
	}
	s.Expect(s.getService("web").Spec.InternalTrafficPolicy).To(Equal(ptr.To(corev1.ServiceInternalTrafficPolicyLocal)))
	s.Expect(s.networkPolicies()).To(HaveLen(1))
	status := s.getPolicy(s.name).Status
	s.Expect(status.Drift).To(HaveEach(HaveField("State", v1alpha1.StateForced)), "Local drops traffic here, as declared")
	s.Expect(status.LastDrift).To(BeNil(), "new intent is not drift")
	s.Expect(status.Taints).To(Equal(v1alpha1.SyncCount{Declared: ptr.To[int32](2), InSync: ptr.To[int32](2)}))
}
