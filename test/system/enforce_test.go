// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

func TestAuditReportsAndEnforcePutsRight(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(2)
	s.service("web", corev1.ServiceTypeClusterIP)
	policy := s.policy()
	policy.Spec.Mode = v1alpha1.ModeAudit
	s.create(policy)
	s.operator()

	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Drifted"))
	audited := s.get(s.name)
	s.Expect(audited.Finalizers).To(BeEmpty(), "Audit writes nothing but the status")
	s.Expect(audited.Status.DriftedObjects).To(HaveValue(BeEquivalentTo(4)))
	s.Expect(s.taints(nodes[0])()).To(BeEmpty())
	s.Expect(s.networkPolicies()).To(BeEmpty())

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Mode = v1alpha1.ModeEnforce })
	s.ready(s.name)
	for _, node := range nodes {
		s.Expect(s.taints(node)()).To(ConsistOf(dedicated + ":NoSchedule"))
	}
	s.Expect(s.serviceNow("web").Spec.InternalTrafficPolicy).To(Equal(ptr.To(corev1.ServiceInternalTrafficPolicyLocal)))
	s.Expect(s.networkPolicies()).To(HaveLen(1))
	status := s.get(s.name).Status
	s.Expect(status.Drift).To(HaveEach(HaveField("State", v1alpha1.StateForced)), "Local drops traffic here, as is meant")
	s.Expect(status.LastDrift).To(BeNil(), "new intent is not drift")
	s.Expect(status.Taints).To(Equal(v1alpha1.SyncCount{Declared: ptr.To[int32](2), InSync: ptr.To[int32](2)}))
}
