// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// The limits of the API server: a request of 3 MiB, of which etcd stores 1.5 MiB, and 256 KiB of annotations.
const (
	maxObject      = 1 << 20
	maxAnnotations = 250 << 10
	hostileObjects = 200
	madeObjects    = 20 // so many objects are measured, and the memory of all is extrapolated
)

// TestHostileObjectsTakeLittleMemory measures the memory of two hundred objects of each kind
// in the cache. The objects are as full as the API server allows to an author of such objects.
func TestHostileObjectsTakeLittleMemory(t *testing.T) {
	var all []any
	total := 0.0
	for _, kind := range []struct {
		name string
		most float64 // MiB
		make func(i int) client.Object
	}{
		{"Nodes full of labels and annotations", 20, hostileNode},
		{"Nodes full of addresses", 20, nodeOfManyAddresses},
		{"Services full of ports and addresses", 20, hostileService},
		{"Services with many managers", 20, serviceOfManyManagers},
		{"EndpointSlices full of endpoints", 90, hostileSlice},
		{"EndpointSlices full of ports", 20, sliceOfManyPorts},
		{"Pods full of labels and annotations", 20, hostilePod},
		{"NetworkPolicies of the operator's name, full of rules", 10, hostileNetworkPolicy},
		{"NetworkPolicies of the operator's name, full of metadata", 20, networkPolicyOfMuchMetadata},
		{"NetworkPolicies just small enough to be kept whole", 70, wholeNetworkPolicy},
		{"NetworkPolicies of others", 5, foreignNetworkPolicy},
		{"DaemonSets full of metadata", 5, metadataOf(&appsv1.DaemonSet{})},
		{"namespaces full of metadata", 20, metadataOf(&corev1.Namespace{})},
	} {
		before := heap()
		kept := keep(t, kind.make)
		took := (heap() - before) * hostileObjects / madeObjects
		t.Logf("%-60s %6.1f MiB", kind.name, took)
		NewWithT(t).Expect(took).To(BeNumerically("<", kind.most), kind.name)
		total += took
		all = append(all, kept)
	}
	t.Logf("%-60s %6.1f MiB", "all of them at once", total)
	runtime.KeepAlive(all)
}

// heap returns how much memory is in use, in MiB.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// keep passes objects through the transform of their kind.
func keep(t *testing.T, object func(i int) client.Object) []any {
	t.Helper()
	cache := options.CacheOptions()
	var kept []any
	for i := range madeObjects {
		o := object(i)
		transform := cache.DefaultTransform
		for of, by := range cache.ByObject {
			if reflect.TypeOf(of) == reflect.TypeOf(kindOf(o)) && by.Transform != nil {
				transform = by.Transform
			}
		}
		out, err := transform(o)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		kept = append(kept, out)
	}
	return kept
}

// kindOf returns an object of the kind for the configuration of the cache.
func kindOf(object client.Object) client.Object {
	partial, is := object.(*metav1.PartialObjectMetadata)
	switch {
	case !is:
		return object
	case partial.Kind == "Namespace":
		return &corev1.Namespace{}
	default:
		return &appsv1.DaemonSet{}
	}
}

var prefix = strings.Repeat("a", 63) + ".example.com/" + strings.Repeat("k", 50) + "-"

// fill returns labels, or annotations, of the given total size.
func fill(size int, value string) map[string]string {
	out := map[string]string{}
	for i := 0; size > 0; i++ {
		key := prefix + strconv.Itoa(i)
		out[key] = strings.Clone(value)
		size -= len(key) + len(value)
	}
	return out
}

func hostileMeta(i int) metav1.ObjectMeta {
	value := strings.Repeat("v", 63)
	return metav1.ObjectMeta{
		Namespace: "n", Name: fmt.Sprintf("cpnp.p.%d", i), UID: "uid", ResourceVersion: "1",
		Labels: fill(maxObject/4, value), Annotations: fill(maxAnnotations, value), Finalizers: strings.Split(strings.Repeat("example.com/x,", 500), ","),
	}
}

func hostileNode(i int) client.Object {
	node := &corev1.Node{ObjectMeta: hostileMeta(i)}
	node.Labels["node-role.kubernetes.io/control-plane"] = ""
	node.Annotations = map[string]string{
		v1alpha1.AnnotationRecord:      strings.Repeat("r", maxAnnotations/2),
		"k3s.io/node-args":             strings.Repeat("r", maxAnnotations/4),
		"k8s.ovn.org/node-subnets":     strings.Repeat("r", maxAnnotations/4),
		"rke2.io/node-args":            strings.Repeat("r", maxAnnotations/4),
		"flannel.alpha.coreos.com/x":   strings.Repeat("r", maxAnnotations/4),
		"kubectl.kubernetes.io/unused": strings.Repeat("r", maxAnnotations/4),
	}
	node.Spec.ProviderID = strings.Repeat("p", maxObject)
	node.Status.NodeInfo.OSImage = strings.Repeat("o", maxObject)
	return node
}

func nodeOfManyAddresses(i int) client.Object {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}}
	for j := range 2_000 {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{
			Type: corev1.NodeInternalIP, Address: fmt.Sprintf("2001:db8:%x:%x::1", i, j),
		})
	}
	node.Status.Addresses[0].Address = strings.Repeat("h", maxObject)
	return node
}

func hostileService(i int) client.Object {
	service := &corev1.Service{ObjectMeta: hostileMeta(i)}
	service.Annotations[v1alpha1.AnnotationRecord] = strings.Repeat("r", maxAnnotations)
	service.Spec.Type, service.Spec.Selector = corev1.ServiceTypeLoadBalancer, fill(maxObject/4, "v")
	for j := range 3_000 {
		service.Spec.ExternalIPs = append(service.Spec.ExternalIPs, fmt.Sprintf("192.0.%d.%d", j/256, j%256))
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint(j), Port: int32(j)})
	}
	return service
}

func serviceOfManyManagers(i int) client.Object {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprint(i)}}
	for j := range 5000 {
		service.ManagedFields = append(service.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: fmt.Sprintf("%s-%d", strings.Repeat("m", 100), j), Operation: metav1.ManagedFieldsOperationApply,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:externalTrafficPolicy":{}}}`),
		})
	}
	return service
}

func hostileSlice(i int) client.Object {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: hostileMeta(i)}
	for j := range 1000 {
		endpoint := discoveryv1.Endpoint{NodeName: ptr.To(fmt.Sprintf("%s-%d", strings.Repeat("n", 200), j))}
		for k := range 4 {
			endpoint.Addresses = append(endpoint.Addresses, fmt.Sprintf("10.%d.%d.%d", j/256, j%256, k))
		}
		slice.Endpoints = append(slice.Endpoints, endpoint)
	}
	return slice
}

func sliceOfManyPorts(int) client.Object {
	slice := &discoveryv1.EndpointSlice{}
	for j := range 3_000 {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Port: ptr.To(int32(j)), Protocol: ptr.To(corev1.ProtocolTCP)})
	}
	return slice
}

func hostilePod(i int) client.Object {
	pod := &corev1.Pod{ObjectMeta: hostileMeta(i)}
	pod.Spec.Containers = []corev1.Container{{Args: []string{strings.Repeat("a", maxObject/2)}}}
	return pod
}

func rules(size int) networkingv1.NetworkPolicySpec {
	var rule networkingv1.NetworkPolicyIngressRule
	for j := 0; size > 0; j++ {
		cidr := fmt.Sprintf("10.%d.%d.%d/32", j>>16&255, j>>8&255, j&255)
		rule.From = append(rule.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr}})
		size -= len(cidr) + 10
	}
	rule.Ports = []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(443))}}
	return networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{rule}}
}

func hostileNetworkPolicy(i int) client.Object {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("cpnp.p.%d", i)}, Spec: rules(maxObject)}
}

func networkPolicyOfMuchMetadata(i int) client.Object {
	policy := &networkingv1.NetworkPolicy{ObjectMeta: hostileMeta(i), Spec: rules(1000)}
	for j := range 1000 {
		policy.Annotations[fmt.Sprintf("cpnp.dev/x-%d", j)] = strings.Repeat("x", 200)
		policy.ManagedFields = append(policy.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: fmt.Sprint("cpnp.dev/", j), FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:` + strings.Repeat("x", 900) + `":{}}}`),
		})
	}
	return policy
}

func wholeNetworkPolicy(i int) client.Object {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("cpnp.p.%d", i)}, Spec: rules(60 << 10)}
}

func foreignNetworkPolicy(i int) client.Object {
	policy := &networkingv1.NetworkPolicy{ObjectMeta: hostileMeta(i), Spec: rules(maxObject)}
	policy.Name = fmt.Sprint("other-", i)
	return policy
}

func metadataOf(kind client.Object) func(i int) client.Object {
	return func(i int) client.Object {
		partial := &metav1.PartialObjectMetadata{ObjectMeta: hostileMeta(i)}
		partial.Kind = strings.TrimPrefix(fmt.Sprintf("%T", kind), "*v1.")
		return partial
	}
}
