// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

func internalLocal(entry *v1alpha1.ServiceTrafficPolicy) {
	entry.InternalTrafficPolicy = corev1.ServiceInternalTrafficPolicyLocal
}

func (s *story) internalTrafficPolicy(namespace, name string) func() string {
	return func() string {
		service := &corev1.Service{}
		s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Namespace: namespace, Name: name}, service)).To(Succeed())
		return string(ptr.Deref(service.Spec.InternalTrafficPolicy, ""))
	}
}

// driftOf returns the state and the message of a Service's drift in the status.
func (s *story) driftOf(service string) func() string {
	return func() string {
		for _, d := range s.getPolicy(s.name).Status.Drift {
			if d.Namespace+"/"+d.Name == service {
				return string(d.State) + ": " + d.Message
			}
		}
		return ""
	}
}

// placeEndpoints places the endpoints of a Service on the given nodes.
func (s *story) placeEndpoints(service *corev1.Service, nodes ...string) {
	s.t.Helper()
	var endpoints []discoveryv1.Endpoint
	for i, node := range nodes {
		endpoints = append(endpoints, testbed.Endpoint(node, fmt.Sprintf("10.1.%d.2", i), true))
	}
	slice := testbed.EndpointSlice(service, endpoints...)
	there := &discoveryv1.EndpointSlice{}
	if err := s.admin.Get(s.ctx, client.ObjectKeyFromObject(slice), there); err != nil {
		s.createObjects(slice)
		return
	}
	there.Endpoints = endpoints
	s.Expect(s.admin.Update(s.ctx, there)).To(Succeed())
}

// otherNodes counts the nodes outside of the story, because every node counts.
func (s *story) otherNodes() int {
	s.t.Helper()
	var nodes corev1.NodeList
	s.Expect(s.admin.List(s.ctx, &nodes)).To(Succeed())
	count := 0
	for _, node := range nodes.Items {
		if node.Labels["story"] != s.name {
			count++
		}
	}
	return count
}

// DNS with two replicas on five nodes stays as before, until every node has an endpoint.
func TestDNSBecomesLocalWhereEveryNodeHasAnEndpoint(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(5)
	s.Expect(s.otherNodes()).To(BeZero())
	dns := s.createService("dns", corev1.ServiceTypeClusterIP)
	s.patchObject(dns, "admin", `{"metadata":{"labels":{"k8s-app":"kube-dns"}}}`)
	s.placeEndpoints(dns, nodes[:2]...)
	// Force has no effect here, because this is the cluster's DNS.
	s.createObjects(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) {
		internalLocal(entry)
		entry.LocalPolicy = v1alpha1.LocalForce
	}))
	s.startOperator()

	policyOf := s.internalTrafficPolicy(s.name, "dns")
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionTrafficPoliciesInSync)).Should(Equal("False/Held"))
	s.Expect(s.driftOf(s.name + "/dns")()).To(And(HavePrefix("Held: 2 of 5 nodes"), ContainSubstring(nodes[2]+", "+nodes[3]+", "+nodes[4])))
	s.Expect(policyOf()).To(Equal("Cluster"))

	s.placeEndpoints(dns, nodes[:4]...)
	s.Eventually(s.driftOf(s.name + "/dns")).Should(HavePrefix("Held: 4 of 5 nodes"))
	s.Expect(policyOf()).To(Equal("Cluster"))
	s.placeEndpoints(dns, nodes...)
	s.Eventually(policyOf).Should(Equal("Local"))
	s.waitUntilReady(s.name)

	// One endpoint is lost later: the status reports so, and the field stays Local.
	s.placeEndpoints(dns, nodes[1:]...)
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionTrafficPoliciesInSync)).Should(Equal("False/EndpointsMissing"))
	s.Expect(s.driftOf(s.name + "/dns")()).To(And(HavePrefix("EndpointsMissing: 4 of 5 nodes"), ContainSubstring(nodes[0])))
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionProgrammed)()).To(Equal("True/AsDeclared"))
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal("False/EndpointsMissing"))
	s.Expect(policyOf()).To(Equal("Local"))
	s.placeEndpoints(dns, nodes...)
	s.waitUntilReady(s.name)
}

// A Service waiting for endpoints on every node does not wait for former nodes.
func TestDeletedNodeDelaysNoService(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(3)
	web := s.createService("web", corev1.ServiceTypeClusterIP)
	s.placeEndpoints(web, nodes[:2]...)
	s.createObjects(s.onlyServices(internalLocal))
	s.startOperator()
	s.Eventually(s.driftOf(s.name + "/web")).Should(HavePrefix("Held: 2 of 3 nodes"))
	s.Expect(s.admin.Delete(s.ctx, s.getNode(nodes[2]))).To(Succeed())
	s.Eventually(s.internalTrafficPolicy(s.name, "web")).Should(Equal("Local"))
	s.waitUntilReady(s.name)
	// A new node needs an endpoint.
	joined := s.joinNode("10.77.0.201")
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/EndpointsMissing"))
	s.placeEndpoints(web, nodes[0], nodes[1], joined)
	s.waitUntilReady(s.name)
}

// The API servers' own Service has endpoints on no node, even where an EndpointSlice names
// a node.
func TestServiceOfTheAPIServersIsNeverLocal(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	own := &corev1.Service{}
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "kubernetes"}, own)).To(Succeed())
	s.patchObject(own, "admin", `{"metadata":{"labels":{"story":"`+s.name+`"}}}`)
	t.Cleanup(func() {
		body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"story":null}}}`))
		s.Expect(s.admin.Patch(context.Background(), own, body)).To(Succeed())
	})
	s.createObjects(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) {
		internalLocal(entry)
		entry.LocalPolicy = v1alpha1.LocalForce
	}))
	s.startOperator()
	s.Eventually(s.driftOf("default/kubernetes")).Should(And(HavePrefix("Held: "), ContainSubstring("API servers")))
	s.Consistently(s.internalTrafficPolicy("default", "kubernetes"), "500ms").Should(Equal("Cluster"))
}

// No load balancer checks the health of nodes for a NodePort.
func TestNodePortBecomesLocalWhereClientsMaySendTo(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(3)
	door, meant := s.createService("door", corev1.ServiceTypeNodePort), s.createService("meant", corev1.ServiceTypeNodePort)
	s.patchObject(meant, "admin", `{"metadata":{"labels":{"meant":"yes"}}}`)
	s.placeEndpoints(door, nodes[0])
	s.placeEndpoints(meant, nodes[0])
	policy := s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal))
	force := *policy.Spec.Services[0].DeepCopy()
	force.Name, force.LocalPolicy = "meant", v1alpha1.LocalForce
	force.Selector.MatchLabels = map[string]v1alpha1.LabelValue{"story": v1alpha1.LabelValue(s.name), "meant": "yes"}
	policy.Spec.Services = []v1alpha1.ServiceTrafficPolicy{force, policy.Spec.Services[0]}
	s.createObjects(policy)
	s.startOperator()

	s.Eventually(s.driftOf(s.name + "/door")).Should(And(HavePrefix("Held: 1 of 3 nodes"), ContainSubstring("NodePort")))
	s.Eventually(s.externalTrafficPolicy("meant")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.Eventually(s.driftOf(s.name + "/meant")).Should(HavePrefix("Forced: 1 of 3 nodes"))
	s.Expect(s.externalTrafficPolicy("door")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))

	for _, node := range nodes[1:] {
		s.patchObject(s.getNode(node), "admin", `{"metadata":{"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":""}}}`)
	}
	s.Eventually(s.externalTrafficPolicy("door")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.waitUntilReady(s.name)
}

func TestEveryTrafficDistributionIsWritten(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.createObjects(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) { entry.TrafficDistribution = "PreferSameNode" }))
	s.startOperator()
	for _, value := range []string{"PreferSameNode", "PreferSameZone", "PreferClose"} {
		s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Services[0].TrafficDistribution = value })
		s.Eventually(func() any { return s.getService("web").Spec.TrafficDistribution }).Should(HaveValue(Equal(value)))
		s.waitUntilReady(s.name)
	}
}

// A value that the API server refuses, as an older version does, is reported, and not
// written again and again. The next change of the Service starts a new try.
func TestRefusedValueIsReportedAndNotRepeated(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	s.createService("web", corev1.ServiceTypeClusterIP)
	s.refuseValue("PreferSameZone")
	s.createObjects(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) { entry.TrafficDistribution = "PreferSameZone" }))
	mark := s.markAuditLog()
	s.startOperator()
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionReady)).To(And(
		ContainSubstring("Service/"+s.name+"/web"), ContainSubstring("until all API servers run Kubernetes 1.34")))
	begun := time.Now()
	s.Eventually(func() time.Duration { return time.Since(begun) }).Should(BeNumerically(">", 3*time.Second))
	s.Expect(len(s.requestsSince(mark).Repairs)).To(BeNumerically("<=", 3), s.requestsSince(mark).String)

	s.editPolicy(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Services[0].TrafficDistribution = "PreferClose"
	})
	s.waitUntilReady(s.name)
	s.Expect(s.getService("web").Spec.TrafficDistribution).To(HaveValue(Equal("PreferClose")))
}

// refuseValue makes the API server refuse a trafficDistribution in the story's namespace,
// with the code for an unknown value.
func (s *story) refuseValue(value string) {
	s.t.Helper()
	s.forbidByAdmission(admissionv1.Update, admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"services"}},
		fmt.Sprintf("!has(object.spec.trafficDistribution) || object.spec.trafficDistribution != '%s'", value), "an older API server does not know it")
	// The refusal takes effect some time after its creation.
	probe := testbed.Service(s.name, "probe", corev1.ServiceTypeClusterIP)
	s.createObjects(probe)
	s.Eventually(func() error {
		return s.admin.Patch(s.ctx, probe.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"trafficDistribution":"`+value+`"}}`)), client.DryRunAll)
	}).ShouldNot(Succeed())
}
