// SPDX-License-Identifier: Apache-2.0

package flood

import (
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	hostile = 200 // objects of a kind
	tenant  = "tenant"
	victim  = "victim"

	// An API server accepts 256 KiB of annotations, and etcd 1.5 MiB for a whole object.
	muchAnnotations = 250 << 10
	muchText        = 300 << 10
)

// longText is a single long value: many values would take most of the API server's time.
func longText(size int) string { return strings.Repeat("x", size) }

// manyLabels returns more labels than the operator keeps.
func manyLabels(size int) map[string]string {
	out, value := map[string]string{}, strings.Repeat("v", 63)
	for i := 0; size > 0; i++ {
		key := strings.Repeat("a", 63) + ".example.com/" + strings.Repeat("k", 50) + strconv.Itoa(i)
		out[key] = value
		size -= len(key) + len(value)
	}
	return out
}

// fullMeta returns metadata of the largest allowed size.
func fullMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: tenant, Name: name, Labels: manyLabels(20 << 10), Annotations: map[string]string{"full": longText(muchAnnotations)},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: longText(muchText), UID: "none"}},
	}
}

// networkPolicy has a name like a managed NetworkPolicy, and a mebibyte of metadata or of
// spec.
func networkPolicy(i int) client.Object {
	name := fmt.Sprintf("cpnp.%s.x%d", victim, i)
	if i%2 == 0 {
		object := &networkingv1.NetworkPolicy{ObjectMeta: fullMeta(name)}
		object.OwnerReferences[0].Name = longText(1 << 20)
		return object // the operator reads such an object from the API server when a policy is deleted
	}
	object := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
	// A few fields with many values: many addresses would take most of the API server's own
	// time.
	among := metav1.LabelSelectorRequirement{Key: "app", Operator: metav1.LabelSelectorOpIn}
	for j := range (1 << 20) / 66 {
		among.Values = append(among.Values, fmt.Sprintf("%s%08d", strings.Repeat("v", 55), j))
	}
	object.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{among}
	return object
}

func daemonSet(i int) client.Object {
	app := map[string]string{"app": "x"}
	object := &appsv1.DaemonSet{ObjectMeta: fullMeta(fmt.Sprint("d", i)), Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: app},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: app}},
	}}
	object.Spec.Template.Spec.Containers = []corev1.Container{{Name: "main", Image: "none", Args: []string{longText(muchText)}}}
	return object
}

// service is a selected Service. The record names missing policies.
func service(i int) client.Object {
	object := testbed.Service(tenant, "", corev1.ServiceTypeNodePort)
	object.ObjectMeta = fullMeta(fmt.Sprint("s", i))
	object.Labels["flood"] = victim
	object.Annotations = map[string]string{v1alpha1.AnnotationRecord: forgedRecord(0, muchAnnotations)}
	return object
}

// forgedRecord is a record of the given size, with many fields, each of another policy.
func forgedRecord(round, size int) string {
	var fields []string
	for i := 0; size > 0; i++ {
		field := fmt.Sprintf(`"f%d":{"policy":"invented-%d-%d","applied":"Cluster","original":null}`, i, round, i)
		fields = append(fields, field)
		size -= len(field) + 1
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func endpointSlice(i int) client.Object {
	name := fmt.Sprint("s", i)
	object := testbed.EndpointSlice(testbed.Service(tenant, name, corev1.ServiceTypeNodePort))
	object.Annotations, object.OwnerReferences = fullMeta("").Annotations, fullMeta("").OwnerReferences
	for j := range 1000 {
		endpoint := discoveryv1.Endpoint{NodeName: ptr.To(fmt.Sprintf("%s%d", strings.Repeat("n", 200), j))}
		endpoint.Addresses = append(endpoint.Addresses, fmt.Sprintf("10.1.%d.%d", j/256, j%256))
		object.Endpoints = append(object.Endpoints, endpoint)
	}
	return object
}

func node(i int) client.Object {
	object := testbed.Node("", testbed.WithoutKwok(), testbed.InternalIP(fmt.Sprintf("10.99.0.%d", i+1)))
	meta := fullMeta(fmt.Sprint("node-", i))
	meta.Namespace, meta.OwnerReferences = "", nil // kubelets may not set owners
	meta.Annotations = map[string]string{v1alpha1.AnnotationRecord: forgedRecord(0, muchAnnotations)}
	object.ObjectMeta = meta
	return object
}

func namespace(i int) client.Object {
	object := &corev1.Namespace{ObjectMeta: fullMeta(fmt.Sprint("namespace-", i))}
	object.Namespace = ""
	return object
}

func pod(i int) client.Object {
	object := testbed.Pod(tenant, "", testbed.HostNetwork(), testbed.OnNode("node"))
	object.ObjectMeta = fullMeta(fmt.Sprint("p", i))
	object.Spec.Containers[0].Args = []string{longText(muchText)}
	return object
}

// smallService is a small selected Service.
func smallService(i int) client.Object {
	return testbed.Service(tenant, fmt.Sprint("small", i), corev1.ServiceTypeNodePort, testbed.ServiceLabels(map[string]string{"flood": victim}))
}

// newPolicy returns a policy with every kind of declaration.
func newPolicy(name, label string) *v1alpha1.ControlPlaneNetworkPolicy {
	selector := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"flood": v1alpha1.LabelValue(label)}}
	return &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode: v1alpha1.ModeEnforce, NodeSelector: selector,
			Taints: []v1alpha1.Taint{{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}},
			Services: []v1alpha1.ServiceTrafficPolicy{{
				Name: "all", Selector: selector, NamespaceSelector: &v1alpha1.LabelSelector{},
				ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
			}},
			Network: &v1alpha1.NetworkSpec{Components: []v1alpha1.Component{{
				Name:      name,
				Pods:      &v1alpha1.PodSelector{Namespace: tenant, Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": v1alpha1.LabelValue(name)}}},
				Ports:     []v1alpha1.Port{{Protocol: "TCP", Port: 443}},
				AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}},
			}}},
		},
	}
}
