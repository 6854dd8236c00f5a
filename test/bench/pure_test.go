// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// The pure functions between observing and applying are measured at the size of the
// performance targets.
const manyNodes = 5000

// BenchmarkCompile measures the first step of every event and every reconciliation.
func BenchmarkCompile(b *testing.B) {
	policies := []v1alpha1.ControlPlaneNetworkPolicy{*benchPolicy()}
	for b.Loop() {
		plan.Compile(policies)
	}
}

// BenchmarkRecompile compiles policies after a report, which changes only the status.
func BenchmarkRecompile(b *testing.B) {
	policies := []v1alpha1.ControlPlaneNetworkPolicy{*benchPolicy()}
	var compiler plan.Compiler
	for b.Loop() {
		policies[0].Status.ObservedGeneration++
		compiler.Compile(policies)
	}
}

// BenchmarkNetworks renders the NetworkPolicies of a policy with 32 components and 5,000
// selected nodes.
func BenchmarkNetworks(b *testing.B) {
	policies, nodes := compiledPolicies(), makeNodes(manyNodes)
	for b.Loop() {
		plan.NetworkPolicies(&policies[0], policies, state.Snapshot{Nodes: nodes})
	}
}

// BenchmarkNetworkDrift compares rendered NetworkPolicies with equal live NetworkPolicies.
func BenchmarkNetworkDrift(b *testing.B) {
	policies := compiledPolicies()
	network := plan.NetworkPolicies(&policies[0], policies, state.Snapshot{Nodes: makeNodes(manyNodes)})
	var live state.Snapshot
	for _, object := range network.Objects {
		live.NetworkPolicies = append(live.NetworkPolicies, *object.DeepCopy())
	}
	for b.Loop() {
		drift.CompareNetworkPolicies(&policies[0], network, live.NetworkPolicies)
	}
}

// BenchmarkHosts plans the protection of seven nodes in a cluster of 5,000 nodes, and
// compares the plan with live objects. No node was started yet, so both the writes of now
// and the final objects are rendered.
func BenchmarkHosts(b *testing.B) {
	policies, snapshot := hostProtection()
	objects := len(plannedHosts(b).WholeObjects)
	for b.Loop() {
		hosts := plan.HostProtection(&policies[0], policies, snapshot)
		drift.CompareHosts(&policies[0], policies, hosts, snapshot.Backend)
	}
	b.ReportMetric(float64(objects), "objects") // reported at the end, because the beginning of the loop resets metrics
}

// plannedHosts returns the plan of the same protection.
func plannedHosts(b *testing.B) plan.Hosts {
	b.Helper()
	policies, snapshot := hostProtection()
	hosts := plan.HostProtection(&policies[0], policies, snapshot)
	if len(hosts.WholeObjects) == 0 {
		b.Fatalf("nothing is rendered: %v %v", hosts.Held, hosts.Unprotected)
	}
	return hosts
}

// hostProtection returns a policy that protects seven nodes in a cluster of 5,000 nodes.
func hostProtection() ([]plan.Policy, state.Snapshot) {
	p := benchPolicy()
	p.Spec.NodeSelector = v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"bench/control-plane": ""}}
	p.Spec.Profile = v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico"}
	p.Spec.Network.Failsafe = v1alpha1.FailsafeScope
	for _, name := range []string{"apiServer", "etcd", "kubelet", "scheduler", "controllerManager"} {
		p.Spec.Network.Components = append(p.Spec.Network.Components, v1alpha1.Component{
			Name: name, AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}, {Peer: "admins"}},
		})
	}
	p.Spec.Network.Peers = []v1alpha1.Peer{{Name: "admins", Role: v1alpha1.ExternalAdmin, CIDRs: []v1alpha1.CIDR{"10.8.0.0/16"}}}
	policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*p})
	snapshot := state.Snapshot{Nodes: makeNodes(manyNodes), Backend: calico.Live{Mode: calico.Native}}
	for i := range 7 {
		snapshot.Nodes[i].Labels = map[string]string{"bench/control-plane": ""}
	}
	snapshot.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6443")}
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Pools = []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/16"}}} })
	return policies, snapshot
}

// BenchmarkTaints plans and compares one node.
func BenchmarkTaints(b *testing.B) {
	policies, node := compiledPolicies(), makeNodes(1)[0]
	record := state.Record{state.TaintField(declaredTaint.Key, declaredTaint.Effect): {Policy: "bench"}}
	for b.Loop() {
		claims, _ := plan.TaintClaims(node, policies)
		drift.CompareFields(drift.SharedNode(node, record), claims, policies)
	}
}

// BenchmarkTrafficPolicies plans and compares one Service.
func BenchmarkTrafficPolicies(b *testing.B) {
	policies, service := compiledPolicies(), state.Service{Service: slimObject(b, state.TransformService, makeService(0)).(*corev1.Service)}
	for b.Loop() {
		claims, _ := plan.ServiceClaims(service, policies)
		drift.CompareFields(drift.SharedService(service.Service), claims, policies)
	}
}

// BenchmarkManager asks who manages a field of an object with three managers.
func BenchmarkManager(b *testing.B) {
	service := makeService(0)
	for _, manager := range []string{"kubectl", "kube-controller-manager"} {
		entry := service.ManagedFields[0]
		entry.Manager, entry.FieldsV1 = manager, metav1.NewFieldsV1(
			`{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:exposure":{}}},"f:spec":{"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},"f:type":{}}}`)
		service.ManagedFields = append(service.ManagedFields, entry)
	}
	for b.Loop() {
		drift.ManagerOf(service.ManagedFields, "", "spec", "internalTrafficPolicy")
	}
}

// BenchmarkTransformNode measures the cost of a heartbeat after decoding.
func BenchmarkTransformNode(b *testing.B) {
	node := makeNode(0)
	for b.Loop() {
		slimObject(b, state.TransformNode, node)
	}
}

// The memory of a cached object, including the entry in the store.
func BenchmarkCachedNode(b *testing.B) {
	measureCache(b, state.TransformNode, func(i int) encoded { return makeNode(i) })
}

func BenchmarkCachedService(b *testing.B) {
	measureCache(b, state.TransformService, func(i int) encoded { return makeService(i) })
}

func BenchmarkCachedEndpointSlice(b *testing.B) {
	measureCache(b, state.TransformEndpointSlice, func(i int) encoded {
		return testbed.EndpointSlice(makeService(i),
			testbed.Endpoint(objectName(operatorUser, i), "10.200.0.1", true), testbed.Endpoint(objectName(operatorUser, i+1), "10.200.0.2", true))
	})
}

func BenchmarkCachedPod(b *testing.B) {
	measureCache(b, state.TransformPod, func(i int) encoded {
		pod := testbed.Pod("kube-system", objectName("agent", i), testbed.OnNode(objectName(operatorUser, i)), testbed.HostNetwork(),
			testbed.PodLabels(map[string]string{"k8s-app": "agent", "controller-revision-hash": fmt.Sprint(i)}))
		pod.UID, pod.ResourceVersion = uidOf(i), fmt.Sprint(100000+i)
		return pod
	})
}

// encoded is an object in the encoding of the API server.
type encoded interface {
	client.Object
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func measureCache(b *testing.B, transform func(any) (any, error), object func(i int) encoded) {
	const many = 20000
	for b.Loop() {
		store := cache.NewIndexer(cache.DeletionHandlingMetaNamespaceKeyFunc, cache.Indexers{})
		before := heapSize()
		for i := range many {
			if err := store.Add(slimObject(b, transform, decodedCopy(b, object(i)))); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heapSize()-before)/many, "B/object")
		runtime.KeepAlive(store)
	}
}

// decodedCopy returns a copy that shares no memory, like an object read from the API
// server.
func decodedCopy(b *testing.B, object encoded) encoded {
	text, err := object.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	out := reflect.New(reflect.TypeOf(object).Elem()).Interface().(encoded)
	if err := out.Unmarshal(text); err != nil {
		b.Fatal(err)
	}
	return out
}

func heapSize() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func slimObject(b *testing.B, transform func(any) (any, error), object any) any {
	out, err := transform(object)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

func compiledPolicies() []plan.Policy {
	return plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*benchPolicy()})
}

func makeNodes(count int) []*corev1.Node {
	nodes := make([]*corev1.Node, 0, count)
	for i := range count {
		object, _ := state.TransformNode(makeNode(i))
		nodes = append(nodes, object.(*corev1.Node))
	}
	return nodes
}

// makeNode returns a node after the operator's writes.
func makeNode(i int) *corev1.Node {
	node := benchNode(operatorUser, i)
	node.Spec.Taints = []corev1.Taint{declaredTaint}
	setManager(node, i, v1alpha1.FieldManagerTaints, `{"f:spec":{"f:taints":{}}}`)
	return node
}

// makeService returns a Service after the operator's writes.
func makeService(i int) *corev1.Service {
	service := testbed.Service(namespaceOf(i), objectName(operatorUser, i), corev1.ServiceTypeClusterIP, testbed.ServiceLabels(ownerLabels(operatorUser)))
	service.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	record := state.Record{plan.InternalTrafficPolicy: {Policy: "bench", Applied: "Local"}}
	service.SetAnnotations(map[string]string{v1alpha1.AnnotationRecord: record.String()})
	setManager(service, i, v1alpha1.FieldManagerServices, `{"f:spec":{"f:internalTrafficPolicy":{}}}`)
	return service
}

func setManager(object client.Object, i int, manager, fields string) {
	object.SetUID(uidOf(i))
	object.SetResourceVersion(fmt.Sprint(100000 + i))
	now := metav1.NewTime(time.Unix(int64(i), 0))
	object.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", Time: &now,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}})
}

func uidOf(i int) types.UID { return types.UID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)) }
