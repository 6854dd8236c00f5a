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
		s.Expect(admin.Get(s.ctx, client.ObjectKey{Namespace: namespace, Name: name}, service)).To(Succeed())
		return string(ptr.Deref(service.Spec.InternalTrafficPolicy, ""))
	}
}

// driftOf returns the state and message of what is told of a Service.
func (s *story) driftOf(service string) func() string {
	return func() string {
		for _, d := range s.get(s.name).Status.Drift {
			if d.Namespace+"/"+d.Name == service {
				return string(d.State) + ": " + d.Message
			}
		}
		return ""
	}
}

// place makes the endpoints of a Service those on the nodes.
func (s *story) place(service *corev1.Service, nodes ...string) {
	s.t.Helper()
	var endpoints []discoveryv1.Endpoint
	for i, node := range nodes {
		endpoints = append(endpoints, testbed.Endpoint(node, fmt.Sprintf("10.1.%d.2", i), true))
	}
	slice := testbed.EndpointSlice(service, endpoints...)
	there := &discoveryv1.EndpointSlice{}
	if err := admin.Get(s.ctx, client.ObjectKeyFromObject(slice), there); err != nil {
		s.create(slice)
		return
	}
	there.Endpoints = endpoints
	s.Expect(admin.Update(s.ctx, there)).To(Succeed())
}

// otherNodes returns those that are not the story's: every node counts.
func (s *story) otherNodes() int {
	s.t.Helper()
	var nodes corev1.NodeList
	s.Expect(admin.List(s.ctx, &nodes)).To(Succeed())
	count := 0
	for _, node := range nodes.Items {
		if node.Labels["story"] != s.name {
			count++
		}
	}
	return count
}

// DNS with two replicas on five nodes stays as it is, until every node has one.
func TestDNSBecomesLocalWhereEveryNodeHasAnEndpoint(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(5)
	s.Expect(s.otherNodes()).To(BeZero())
	dns := s.service("dns", corev1.ServiceTypeClusterIP)
	s.patch(dns, "admin", `{"metadata":{"labels":{"k8s-app":"kube-dns"}}}`)
	s.place(dns, nodes[:2]...)
	// To force it does not help: this is the cluster's DNS.
	s.create(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) {
		internalLocal(entry)
		entry.LocalPolicy = v1alpha1.LocalForce
	}))
	s.operator()

	policyOf := s.internalTrafficPolicy(s.name, "dns")
	s.Eventually(s.condition(s.name, v1alpha1.ConditionTrafficPoliciesInSync)).Should(Equal("False/Held"))
	s.Expect(s.driftOf(s.name + "/dns")()).To(And(HavePrefix("Held: 2 of 5 nodes"), ContainSubstring(nodes[2]+", "+nodes[3]+", "+nodes[4])))
	s.Expect(policyOf()).To(Equal("Cluster"))

	s.place(dns, nodes[:4]...)
	s.Eventually(s.driftOf(s.name + "/dns")).Should(HavePrefix("Held: 4 of 5 nodes"))
	s.Expect(policyOf()).To(Equal("Cluster"))
	s.place(dns, nodes...)
	s.Eventually(policyOf).Should(Equal("Local"))
	s.ready(s.name)

	// One goes later: that is told, and nothing is undone.
	s.place(dns, nodes[1:]...)
	s.Eventually(s.condition(s.name, v1alpha1.ConditionTrafficPoliciesInSync)).Should(Equal("False/EndpointsMissing"))
	s.Expect(s.driftOf(s.name + "/dns")()).To(And(HavePrefix("EndpointsMissing: 4 of 5 nodes"), ContainSubstring(nodes[0])))
	s.Expect(s.condition(s.name, v1alpha1.ConditionProgrammed)()).To(Equal("True/AsDeclared"))
	s.Expect(s.condition(s.name, v1alpha1.ConditionReady)()).To(Equal("False/EndpointsMissing"))
	s.Expect(policyOf()).To(Equal("Local"))
	s.place(dns, nodes...)
	s.ready(s.name)
}

// What waits for endpoints on every node does not wait for those that have left.
func TestNodeThatLeavesHoldsNothingBack(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(3)
	web := s.service("web", corev1.ServiceTypeClusterIP)
	s.place(web, nodes[:2]...)
	s.create(s.onlyServices(internalLocal))
	s.operator()
	s.Eventually(s.driftOf(s.name + "/web")).Should(HavePrefix("Held: 2 of 3 nodes"))
	s.Expect(admin.Delete(s.ctx, s.node(nodes[2]))).To(Succeed())
	s.Eventually(s.internalTrafficPolicy(s.name, "web")).Should(Equal("Local"))
	s.ready(s.name)
	// One that joins needs one.
	joined := s.join("10.77.0.201")
	s.Eventually(s.condition(s.name, v1alpha1.ConditionReady)).Should(Equal("False/EndpointsMissing"))
	s.place(web, nodes[0], nodes[1], joined)
	s.ready(s.name)
}

// The API servers' own Service has endpoints on no node, whoever says otherwise.
func TestServiceOfTheAPIServersIsNeverLocal(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	own := &corev1.Service{}
	s.Expect(admin.Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "kubernetes"}, own)).To(Succeed())
	s.patch(own, "admin", `{"metadata":{"labels":{"story":"`+s.name+`"}}}`)
	t.Cleanup(func() {
		body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"story":null}}}`))
		s.Expect(admin.Patch(context.Background(), own, body)).To(Succeed())
	})
	s.create(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) {
		internalLocal(entry)
		entry.LocalPolicy = v1alpha1.LocalForce
	}))
	s.operator()
	s.Eventually(s.driftOf("default/kubernetes")).Should(And(HavePrefix("Held: "), ContainSubstring("API servers")))
	s.Consistently(s.internalTrafficPolicy("default", "kubernetes"), "500ms").Should(Equal("Cluster"))
}

// Nothing checks the health of nodes for a NodePort.
func TestNodePortBecomesLocalWhereClientsMaySendTo(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(3)
	door, meant := s.service("door", corev1.ServiceTypeNodePort), s.service("meant", corev1.ServiceTypeNodePort)
	s.patch(meant, "admin", `{"metadata":{"labels":{"meant":"yes"}}}`)
	s.place(door, nodes[0])
	s.place(meant, nodes[0])
	policy := s.onlyServices(external(corev1.ServiceExternalTrafficPolicyLocal))
	force := *policy.Spec.Services[0].DeepCopy()
	force.Name, force.LocalPolicy = "meant", v1alpha1.LocalForce
	force.Selector.MatchLabels = map[string]v1alpha1.LabelValue{"story": v1alpha1.LabelValue(s.name), "meant": "yes"}
	policy.Spec.Services = []v1alpha1.ServiceTrafficPolicy{force, policy.Spec.Services[0]}
	s.create(policy)
	s.operator()

	s.Eventually(s.driftOf(s.name + "/door")).Should(And(HavePrefix("Held: 1 of 3 nodes"), ContainSubstring("NodePort")))
	s.Eventually(s.externalTrafficPolicy("meant")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.Eventually(s.driftOf(s.name + "/meant")).Should(HavePrefix("Forced: 1 of 3 nodes"))
	s.Expect(s.externalTrafficPolicy("door")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))

	for _, node := range nodes[1:] {
		s.patch(s.node(node), "admin", `{"metadata":{"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":""}}}`)
	}
	s.Eventually(s.externalTrafficPolicy("door")).Should(Equal(corev1.ServiceExternalTrafficPolicyLocal))
	s.ready(s.name)
}

func TestEveryTrafficDistributionIsWritten(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	s.service("web", corev1.ServiceTypeClusterIP)
	s.create(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) { entry.TrafficDistribution = "PreferSameNode" }))
	s.operator()
	for _, value := range []string{"PreferSameNode", "PreferSameZone", "PreferClose"} {
		s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Services[0].TrafficDistribution = value })
		s.Eventually(func() any { return s.serviceNow("web").Spec.TrafficDistribution }).Should(HaveValue(Equal(value)))
		s.ready(s.name)
	}
}

// A value that the API server refuses, as an older one does, is told, and not
// written again and again. The event that something has changed tries it anew.
func TestValueThatIsRefusedIsToldAndNotTriedWithoutEnd(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	s.service("web", corev1.ServiceTypeClusterIP)
	s.refuse("PreferSameZone")
	s.create(s.onlyServices(func(entry *v1alpha1.ServiceTrafficPolicy) { entry.TrafficDistribution = "PreferSameZone" }))
	mark := s.mark()
	s.operator()
	s.Eventually(s.condition(s.name, v1alpha1.ConditionProgrammed)).Should(Equal("False/ApplyFailed"))
	s.Expect(s.message(s.name, v1alpha1.ConditionReady)).To(And(
		ContainSubstring("Service/"+s.name+"/web"), ContainSubstring("until all API servers run Kubernetes 1.34")))
	begun := time.Now()
	s.Eventually(func() time.Duration { return time.Since(begun) }).Should(BeNumerically(">", 3*time.Second))
	s.Expect(len(s.requestsSince(mark).Repairs)).To(BeNumerically("<=", 3), s.requestsSince(mark).String)

	s.edit(s.name, func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Services[0].TrafficDistribution = "PreferClose"
	})
	s.ready(s.name)
	s.Expect(s.serviceNow("web").Spec.TrafficDistribution).To(HaveValue(Equal("PreferClose")))
}

// refuse has the API server refuse a trafficDistribution in the story's namespace
// with the code of a value that it does not know.
func (s *story) refuse(value string) {
	s.t.Helper()
	s.forbid(admissionv1.Update, admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"services"}},
		fmt.Sprintf("!has(object.spec.trafficDistribution) || object.spec.trafficDistribution != '%s'", value), "an older API server does not know it")
	// It is in force some time after it was created.
	probe := testbed.Service(s.name, "probe", corev1.ServiceTypeClusterIP)
	s.create(probe)
	s.Eventually(func() error {
		return admin.Patch(s.ctx, probe.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"trafficDistribution":"`+value+`"}}`)), client.DryRunAll)
	}).ShouldNot(Succeed())
}
