// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// onlyServices returns a policy of the story with nothing but traffic policies.
func (s *story) onlyServices(change func(*v1alpha1.ServiceTrafficPolicy)) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.newPolicy()
	policy.Spec.Network, policy.Spec.Taints = nil, nil
	entry := &policy.Spec.Services[0]
	entry.InternalTrafficPolicy, entry.LocalPolicy = "", ""
	change(entry)
	return policy
}

func setExternal(policy corev1.ServiceExternalTrafficPolicy) func(*v1alpha1.ServiceTrafficPolicy) {
	return func(entry *v1alpha1.ServiceTrafficPolicy) { entry.ExternalTrafficPolicy = policy }
}

func (s *story) externalTrafficPolicy(service string) func() corev1.ServiceExternalTrafficPolicy {
	return func() corev1.ServiceExternalTrafficPolicy { return s.getService(service).Spec.ExternalTrafficPolicy }
}

func TestLocalIsHeldUntilAnEndpointIsReady(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	service := s.createService("ingress", corev1.ServiceTypeLoadBalancer)
	s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
	s.startOperator()

	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionTrafficPoliciesInSync)).Should(Equal("False/Held"))
	s.Expect(s.externalTrafficPolicy("ingress")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	s.Expect(s.getPolicy(s.name).Status.Drift).To(ConsistOf(And(
		HaveField("State", v1alpha1.StateHeld), HaveField("Message", ContainSubstring("no ready endpoint")))))

	// An endpoint on a node excluded from load balancers does not help ...
	s.patchObject(s.getNode(node), "admin", `{"metadata":{"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":""}}}`)
	s.createObjects(testbed.EndpointSlice(service, testbed.Endpoint(node, "10.1.0.1", true)))
	s.Consistently(s.externalTrafficPolicy("ingress"), "500ms").Should(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	// ... and an endpoint on a node behind load balancers does.
	s.patchObject(s.getNode(node), "admin", `{"metadata":{"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":null}}}`)
	s.Eventually(s.externalTrafficPolicy("ingress")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.waitUntilReady(s.name)
	s.Expect(s.getService("ingress").Spec.HealthCheckNodePort).NotTo(BeZero())
}

func TestServiceWithoutTheFieldIsReported(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	s.createService("plain", corev1.ServiceTypeClusterIP)
	s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Expect(s.getPolicy(s.name).Status.Drift).To(ConsistOf(And(
		HaveField("Name", "plain"), HaveField("State", v1alpha1.StateNotApplicable), HaveField("Message", ContainSubstring("ClusterIP")))))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionTrafficPoliciesInSync)).To(ContainSubstring("Service/" + s.name + "/plain"))
}

// declareField writes a field of a Service with server-side apply, as Argo CD does.
func (s *story) declareField(service, manager, field, value string) {
	s.t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{field: value}}}
	object.SetAPIVersion("v1")
	object.SetKind("Service")
	object.SetNamespace(s.name)
	object.SetName(service)
	s.Expect(s.admin.Apply(s.ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(manager), client.ForceOwnership)).To(Succeed())
}

func TestForeignFieldIsReportedAndNotContested(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	s.createService("web", corev1.ServiceTypeNodePort)
	s.declareField("web", "argocd-controller", "internalTrafficPolicy", "Cluster")
	s.createObjects(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) {
		entry.InternalTrafficPolicy, entry.LocalPolicy = corev1.ServiceInternalTrafficPolicyLocal, v1alpha1.LocalForce
	}))
	s.startOperator()

	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionDrifted)).Should(Equal("True/Conflicted"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionDrifted)).To(And(ContainSubstring("argocd-controller"), ContainSubstring("internalTrafficPolicy")))
	s.Expect(s.getService("web").Spec.InternalTrafficPolicy).To(HaveValue(BeEquivalentTo("Cluster")))

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Services[0].ConflictPolicy = v1alpha1.ConflictOverride
	})
	s.Eventually(func() any { return s.getService("web").Spec.InternalTrafficPolicy }).Should(HaveValue(BeEquivalentTo("Local")))
	s.waitUntilReady(s.name)
}

// A field that was only set, or defaulted, is taken over.
func TestFieldThatWasOnlySetIsTakenOver(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	service := testbed.Service(s.name, "web", corev1.ServiceTypeLoadBalancer, testbed.ServiceLabels(s.storyLabels()))
	s.Expect(s.admin.Create(s.ctx, service, client.FieldOwner("kubectl-client-side-apply"))).To(Succeed())
	s.createObjects(testbed.EndpointSlice(service, testbed.Endpoint(node, "10.1.0.2", true)))
	s.createObjects(s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal)))
	s.startOperator()
	s.Eventually(s.externalTrafficPolicy("web")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.waitUntilReady(s.name)
}
