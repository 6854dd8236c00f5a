// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// full is the metadata of an object as an API server returns it.
func full(annotations map[string]string, managers ...metav1.ManagedFieldsEntry) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: "name", Namespace: "namespace", UID: "uid", ResourceVersion: "7", Generation: 3,
		CreationTimestamp: metav1.NewTime(time.Unix(1, 0)), DeletionTimestamp: ptr.To(metav1.NewTime(time.Unix(2, 0))),
		Labels: map[string]string{"app": "web"}, Annotations: annotations, Finalizers: []string{"x"},
		OwnerReferences: []metav1.OwnerReference{{Name: "owner"}}, ManagedFields: managers,
	}
}

func manages(manager, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &metav1.Time{},
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func through[T any](t *testing.T, transform func(any) (any, error), object T) T {
	t.Helper()
	out, err := transform(object)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return out.(T)
}

// cachedSlice returns an EndpointSlice as the cache keeps it.
func cachedSlice(t *testing.T, slice *discoveryv1.EndpointSlice) *state.EndpointSlice {
	t.Helper()
	return through[any](t, state.TransformEndpointSlice, slice).(*state.EndpointSlice)
}

var everyAnnotation = map[string]string{
	v1alpha1.AnnotationRecord:                          `{"externalTrafficPolicy":{"policy":"p","applied":"Local","original":null}}`,
	"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("long", 1000),
}

func TestNodeInTheCacheIsEnoughToPlanAndToPatch(t *testing.T) {
	annotations := map[string]string{
		v1alpha1.AnnotationRecord:                         `{"a:NoSchedule":{"policy":"p","applied":"","original":null}}`,
		"projectcalico.org/IPv4IPIPTunnelAddr":            "10.1.0.1",
		"projectcalico.org/IPv4VXLANTunnelAddr":           "10.1.0.2",
		"projectcalico.org/IPv6VXLANTunnelAddr":           "2001:db8::2",
		"projectcalico.org/IPv4WireguardInterfaceAddr":    "10.1.0.3",
		"projectcalico.org/IPv6WireguardInterfaceAddr":    "2001:db8::3",
		"network.cilium.io/ipv4-cilium-host":              "10.1.0.4",
		"network.cilium.io/ipv6-cilium-host":              "2001:db8::4",
		"flannel.alpha.coreos.com/backend-type":           "vxlan",
		"volumes.kubernetes.io/controller-managed-attach": "true",
		"node.alpha.kubernetes.io/ttl":                    "0",
	}
	node := &corev1.Node{
		ObjectMeta: full(annotations,
			manages("kubectl-taint", `{"f:spec":{"f:taints":{},"f:unschedulable":{}},"f:metadata":{"f:labels":{"f:x":{}}}}`),
			manages("kubelet", `{"f:metadata":{"f:labels":{"f:y":{}}}}`)),
		Spec: corev1.NodeSpec{
			PodCIDRs: []string{"10.3.0.0/24"}, ProviderID: "cloud://1", Taints: []corev1.Taint{{Key: "a", Effect: "NoSchedule"}},
		},
		Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}},
			Images:          []corev1.ContainerImage{{Names: []string{"many"}}},
			NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", OSImage: "Debian", KernelVersion: "6.12"},
			Capacity:        corev1.ResourceList{corev1.ResourceCPU: {}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
			Conditions:      []corev1.NodeCondition{{Type: corev1.NodeDiskPressure}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "x"}},
		},
	}
	before := node.DeepCopy()
	slim := through(t, state.TransformNode, node)
	g := NewWithT(t)
	g.Expect(cmp.Diff(before, node)).To(BeEmpty(), "the object from the API server is unchanged")

	// Every reader of a node sees the same as in the whole object.
	g.Expect(state.NodeAddresses(slim)).To(Equal(state.NodeAddresses(node)))
	g.Expect(state.NodeAddresses(slim)).To(HaveLen(9))
	g.Expect(state.UsedByLoadBalancers(slim)).To(Equal(state.UsedByLoadBalancers(node)))
	g.Expect(plan.TaintValue(slim, "a:NoSchedule")).To(Equal(plan.TaintValue(node, "a:NoSchedule")))
	g.Expect(drift.SharedNode(slim, nil).By("a:NoSchedule")).To(Equal(drift.Manager{Name: "kubectl-taint"}))
	g.Expect(state.NodeAnnotationRecord(slim.Annotations)).To(Equal(state.NodeAnnotationRecord(node.Annotations)))
	g.Expect(state.NodeAnnotationRecord(slim.Annotations)).NotTo(BeEmpty())

	want := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "name", Namespace: "namespace", UID: "uid", ResourceVersion: "7",
			CreationTimestamp: node.CreationTimestamp, DeletionTimestamp: node.DeletionTimestamp,
			Labels: node.Labels, Annotations: node.Annotations, ManagedFields: slim.ManagedFields,
		},
		Spec: corev1.NodeSpec{PodCIDRs: node.Spec.PodCIDRs, Taints: node.Spec.Taints, ProviderID: "cloud://1"},
		Status: corev1.NodeStatus{
			NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", OSImage: "Debian"},
			DaemonEndpoints: node.Status.DaemonEndpoints,
			Addresses:       node.Status.Addresses, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
	delete(want.Annotations, "volumes.kubernetes.io/controller-managed-attach")
	delete(want.Annotations, "node.alpha.kubernetes.io/ttl")
	g.Expect(cmp.Diff(want, slim)).To(BeEmpty(), "nothing else is kept")
}

func TestServiceInTheCacheIsEnoughToPlanAndToPatch(t *testing.T) {
	service := &corev1.Service{
		ObjectMeta: full(everyAnnotation,
			manages("argo", `{"f:spec":{"f:externalTrafficPolicy":{},"f:internalTrafficPolicy":{},"f:ports":{}}}`),
			manages("helm", `{"f:spec":{"f:trafficDistribution":{}}}`),
			manages("kubectl", `{"f:spec":{"f:ports":{}}}`)),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: "Local", InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster),
			TrafficDistribution: ptr.To("PreferClose"), LoadBalancerClass: ptr.To("example.com/lb"), ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 80}}, Selector: map[string]string{"app": "web"},
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
	}
	before := service.DeepCopy()
	slim := through(t, state.TransformService, service)
	g := NewWithT(t)
	g.Expect(cmp.Diff(before, service)).To(BeEmpty(), "the object from the API server is unchanged")

	for _, field := range []string{plan.ExternalTrafficPolicy, plan.InternalTrafficPolicy, plan.TrafficDistribution} {
		g.Expect(drift.SharedService(slim).Live(field)).To(Equal(drift.SharedService(service).Live(field)), field)
		g.Expect(drift.SharedService(slim).By(field)).To(Equal(drift.SharedService(service).By(field)), field)
		g.Expect(drift.SharedService(slim).By(field).Name).NotTo(BeEmpty(), field)
	}
	g.Expect(drift.SharedService(slim).Record).To(HaveKey("externalTrafficPolicy"))
	want := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: "name", Namespace: "namespace", UID: "uid", ResourceVersion: "7", DeletionTimestamp: service.DeletionTimestamp,
			Labels: service.Labels, Annotations: map[string]string{v1alpha1.AnnotationRecord: everyAnnotation[v1alpha1.AnnotationRecord]},
			ManagedFields: slim.ManagedFields,
		},
		Spec: corev1.ServiceSpec{
			Type: service.Spec.Type, ExternalTrafficPolicy: "Local", InternalTrafficPolicy: service.Spec.InternalTrafficPolicy,
			TrafficDistribution: service.Spec.TrafficDistribution, Selector: service.Spec.Selector, LoadBalancerClass: service.Spec.LoadBalancerClass,
		},
	}
	g.Expect(cmp.Diff(want, slim)).To(BeEmpty(), "nothing else is kept")
}

// A Service that is reached from outside the cluster is kept with its traffic policies; most Services are not.
func TestServiceInTheCacheSaysHowItIsReached(t *testing.T) {
	ports := []corev1.ServicePort{{Name: "web", Port: 80, NodePort: 30080, Protocol: "TCP", TargetPort: intstr.FromString("http")}}
	selector := map[string]string{"app": "web"}
	whole := corev1.ServiceSpec{Selector: selector, Ports: ports, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, SessionAffinity: "None"}
	with := func(edit func(*corev1.ServiceSpec)) corev1.ServiceSpec {
		spec := *whole.DeepCopy()
		edit(&spec)
		return spec
	}
	slimPorts := []corev1.ServicePort{{Port: 80, Protocol: "TCP"}}
	tests := map[string]struct {
		spec, want corev1.ServiceSpec
		exposed    bool
	}{
		"inside":   {with(func(s *corev1.ServiceSpec) { s.Type = "ClusterIP" }), corev1.ServiceSpec{Type: "ClusterIP"}, false},
		"headless": {with(func(s *corev1.ServiceSpec) { s.Type, s.ClusterIP = "ClusterIP", "None" }), corev1.ServiceSpec{Type: "ClusterIP", ClusterIP: "None"}, false},
		"a name":   {with(func(s *corev1.ServiceSpec) { s.Type = "ExternalName" }), corev1.ServiceSpec{Type: "ExternalName"}, false},
		"NodePort": {with(func(s *corev1.ServiceSpec) { s.Type = "NodePort" }), corev1.ServiceSpec{Type: "NodePort", Selector: selector}, true},
		"external addresses": {
			with(func(s *corev1.ServiceSpec) { s.Type, s.ExternalIPs = "ClusterIP", []string{"192.0.2.1"} }),
			corev1.ServiceSpec{Type: "ClusterIP", Selector: selector, ExternalIPs: []string{"192.0.2.1"}, Ports: slimPorts}, true,
		},
		"external addresses that matter to nobody": {
			with(func(s *corev1.ServiceSpec) {
				s.Type, s.ClusterIP, s.ExternalIPs = "ClusterIP", "None", []string{"192.0.2.1"}
			}),
			corev1.ServiceSpec{Type: "ClusterIP", ClusterIP: "None", ExternalIPs: []string{"192.0.2.1"}, Ports: slimPorts}, false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			service := &corev1.Service{ObjectMeta: full(nil), Spec: test.spec}
			slim := through(t, state.TransformService, service)
			g.Expect(cmp.Diff(test.want, slim.Spec)).To(BeEmpty())
			g.Expect(state.IsExposed(service)).To(Equal(test.exposed))
			g.Expect(state.IsExposed(slim)).To(Equal(test.exposed))
			g.Expect(state.IsExposed(slim)).To(Equal(test.exposed))
		})
	}
}

func TestManagedFieldsArePrunedToWhatDriftIsAttributedBy(t *testing.T) {
	g := NewWithT(t)
	broken, none := manages("broken", "{"), manages("none", "")
	none.FieldsV1 = nil
	status := manages("status", `{"f:spec":{"f:externalTrafficPolicy":{}}}`)
	status.Subresource = "status"
	applied := manages("argo", `{"f:metadata":{"f:labels":{"f:x":{}}},"f:spec":{"f:externalTrafficPolicy":{},"f:ports":{}}}`)
	applied.Operation = metav1.ManagedFieldsOperationApply
	service := &corev1.Service{ObjectMeta: full(nil, broken, none, status, applied, manages("other", `{"f:spec":{"f:ports":{}}}`))}
	slim := through(t, state.TransformService, service)
	g.Expect(slim.ManagedFields).To(HaveLen(1))
	entry := slim.ManagedFields[0]
	g.Expect(string(entry.FieldsV1.GetRawBytes())).To(MatchJSON(`{"f:spec":{"f:externalTrafficPolicy":{}}}`))
	entry.FieldsV1 = applied.FieldsV1
	applied.Time = nil
	g.Expect(entry).To(Equal(applied), "manager and operation are kept")

	service.ManagedFields = append(service.ManagedFields, manages("later", `{"f:spec":{"f:externalTrafficPolicy":{}}}`))
	slim = through(t, state.TransformService, service)
	g.Expect(slim.ManagedFields).To(HaveEach(HaveField("Time", Not(BeNil()))), "with several managers, the time shows the last one")
	g.Expect(applied.FieldsV1.GetRawBytes()).To(ContainSubstring("f:ports"), "the object from the API server is unchanged")
	g.Expect(slim.Annotations).To(BeNil())
}

func TestEndpointSliceInTheCacheSaysWhereEndpointsAre(t *testing.T) {
	g := NewWithT(t)
	at := func(address string, node *string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{address}, NodeName: node, Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web-5d4f8c9b7-abcde"}, Zone: ptr.To("z1"),
		}
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: full(everyAnnotation), AddressType: "IPv4",
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Protocol: ptr.To(corev1.ProtocolUDP), Port: ptr.To(int32(53)), AppProtocol: ptr.To("x")}},
		Endpoints: []discoveryv1.Endpoint{
			at("10.0.0.1", ptr.To("b"), ptr.To(true)), at("10.0.0.2", ptr.To("unready"), ptr.To(false)), at("10.0.0.3", nil, ptr.To(true)),
			at("10.0.0.4", ptr.To("a"), nil), at("10.0.0.5", ptr.To("b"), ptr.To(true)), at("10.0.0.6", ptr.To("b"), ptr.To(false)),
		},
	}
	slice.Labels[discoveryv1.LabelServiceName] = "web"
	before := slice.DeepCopy()
	slim := cachedSlice(t, slice)
	g.Expect(cmp.Diff(before, slice)).To(BeEmpty(), "the object from the API server is unchanged")

	ready, others := state.EndpointNodes(slim)
	g.Expect(ready).To(Equal([]string{"a", "b"}), "sorted, once each; a missing condition means ready")
	g.Expect(others).To(Equal([]string{"unready"}))
	want := &state.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "namespace", Name: "name", ResourceVersion: "7"},
		Service:     "web",
		AddressType: "IPv4",
		Ports:       []discoveryv1.EndpointPort{{Protocol: ptr.To(corev1.ProtocolUDP), Port: ptr.To(int32(53))}},
		Endpoints: []state.Endpoint{
			{Addresses: []string{"10.0.0.1", "10.0.0.5"}, Node: "b", Ready: true},
			{Addresses: []string{"10.0.0.2"}, Node: "unready"},
			{Addresses: []string{"10.0.0.3"}, Ready: true},
			{Addresses: []string{"10.0.0.4"}, Node: "a", Ready: true},
			{Addresses: []string{"10.0.0.6"}, Node: "b"},
		},
	}
	g.Expect(cmp.Diff(want, slim)).To(BeEmpty(), "nothing else is kept")
	copied := slim.DeepCopyObject().(*state.EndpointSlice)
	g.Expect(cmp.Diff(slim, copied)).To(BeEmpty())
	copied.Endpoints[0].Addresses[0], copied.Endpoints[1].Node, *copied.Ports[0].Port = "changed", "changed", 1
	g.Expect(cmp.Diff(want, slim)).To(BeEmpty(), "the copy is apart")
}

func TestPodInTheCacheSaysWhetherItEvadesItsNetworkPolicy(t *testing.T) {
	g := NewWithT(t)
	pod := &corev1.Pod{
		ObjectMeta: full(everyAnnotation, manages("kubelet", `{"f:spec":{}}`)),
		Spec:       corev1.PodSpec{HostNetwork: true, NodeName: "cp-1", Containers: []corev1.Container{{Name: "c"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"},
	}
	slim := through[any](t, state.TransformPod, pod)
	want := &state.HostPod{
		ObjectMeta:  metav1.ObjectMeta{Name: "name", Namespace: "namespace", ResourceVersion: "7", Labels: pod.Labels},
		HostNetwork: true,
	}
	g.Expect(cmp.Diff(any(want), slim)).To(BeEmpty())
	pod.Status.Phase = corev1.PodFailed
	g.Expect(through[any](t, state.TransformPod, pod)).To(HaveField("Ended", true))
}

func TestOnlyManagedNetworkPoliciesAreKeptWhole(t *testing.T) {
	g := NewWithT(t)
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: full(everyAnnotation, manages("cpnp.dev/network", `{"f:spec":{}}`)),
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress"}},
	}
	g.Expect(through(t, state.TransformNetworkPolicy, policy)).To(Equal(&networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "name", Namespace: "namespace", ResourceVersion: "7"},
	}))
	policy.Name, policy.Labels, policy.Annotations = plan.NetworkPolicyName("p", "c"), nil, nil
	g.Expect(through(t, state.TransformNetworkPolicy, policy)).To(BeIdenticalTo(policy), "recognised by its name, even without the operator's label")
}

func TestTransformsKeepUnknownObjects(t *testing.T) {
	g := NewWithT(t)
	for _, transform := range []func(any) (any, error){
		state.TransformNode, state.TransformService, state.TransformEndpointSlice, state.TransformPod, state.TransformNetworkPolicy,
	} {
		other := &corev1.ConfigMap{ObjectMeta: full(everyAnnotation)}
		g.Expect(through(t, transform, other)).To(BeIdenticalTo(other))
	}
}

// A transform may be applied to its own result (client-go, TransformFunc) and must not change that.
func TestASecondTransformChangesNothing(t *testing.T) {
	servers := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Ports:      []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To[int32](6443)}},
	}
	for i := range 5 {
		servers.Endpoints = append(servers.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.0.0.%d", i+1)}})
	}
	full := map[string]string{"full": strings.Repeat("x", 256<<10)}
	large := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.p.x", Labels: map[string]string{v1alpha1.LabelPolicy: "p"}}}
	for i := range 4000 {
		large.Spec.Ingress = append(large.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255)}}},
		})
	}
	for name, test := range map[string]struct {
		transform func(any) (any, error)
		object    any
	}{
		"API servers":                {state.TransformEndpointSlice, servers},
		"a Service with a record":    {state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: everyAnnotation}}},
		"a Service without room":     {state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: full}}},
		"a Node":                     {state.TransformNode, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: everyAnnotation}}},
		"a NetworkPolicy":            {state.TransformNetworkPolicy, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.p.x", Annotations: everyAnnotation}}},
		"a very large NetworkPolicy": {state.TransformNetworkPolicy, large},
		"a pod":                      {state.TransformPod, &corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true, NodeName: "n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			once := through[any](t, test.transform, test.object)
			NewWithT(t).Expect(cmp.Diff(once, through[any](t, test.transform, once))).To(BeEmpty())
		})
	}
	NewWithT(t).Expect(state.APIServerAddresses(cachedSlice(t, servers))).To(HaveLen(5), "every address is allowed to reach etcd")
}
