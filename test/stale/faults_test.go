// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// moving are the watched kinds that change in the scenarios; still are the
// other watched kinds, of which the test changes a label meanwhile.
var (
	moving = []string{
		"controlplanenetworkpolicies", "controlplanenodeenactments", "controlplanenoderecords",
		"globalnetworkpolicies", "hostendpoints", "felixconfigurations", "globalnetworksets",
		"networkpolicies", "nodes", "services",
	}
	still = []string{
		"endpointslices", "namespaces", "pods", "daemonsets", "configmaps",
		"validatingwebhookconfigurations", "mutatingwebhookconfigurations",
		"tiers", "ippools", "clusterinformations", "apiservices",
	}
)

// How long stale objects are shown: longer than the operator trusts a cache
// that does not show its writes, and longer than its retries take.
const (
	holdFor  = 1000 * time.Millisecond
	lateBy   = 400 * time.Millisecond
	cutEvery = 150 * time.Millisecond
)

// fault is a way to show kinds in a stale state during a scenario.
type fault struct {
	name string
	// shown shows the kinds in the stale state, runs the scenario, and shows the present state again.
	shown func(s *story, random *rand.Rand, kinds []string, happens func(*story))
}

var faults = []fault{
	{"frozen", func(s *story, _ *rand.Rand, kinds []string, happens func(*story)) {
		s.proxy.Freeze(kinds...)
		happens(s)
		s.lasts(holdFor)
	}},
	{"late", func(s *story, _ *rand.Rand, kinds []string, happens func(*story)) {
		for _, kind := range kinds {
			s.proxy.Delay(kind, lateBy)
		}
		happens(s)
		s.lasts(2 * lateBy)
	}},
	{"cut", func(s *story, _ *rand.Rand, kinds []string, happens func(*story)) {
		happens(s)
		for range int(holdFor / cutEvery) {
			s.proxy.CutWatches(kinds...)
			s.lasts(cutEvery)
		}
	}},
	{"old after a restart", func(s *story, random *rand.Rand, kinds []string, happens func(*story)) {
		s.Expect(s.proxy.Remember(s.t.Context(), kinds...)).To(Succeed())
		happens(s)
		s.lasts(time.Duration(random.IntN(1200)) * time.Millisecond)
		s.stop()
		s.proxy.Old(kinds...)
		s.proxy.Freeze(kinds...)
		s.start()
		s.lasts(holdFor)
	}},
}

// thing is an object of a still kind.
type thing struct {
	of              schema.GroupVersionResource
	namespace, name string
	object          client.Object // nil if the cluster has the object anyway
}

// things returns one object of each still kind.
func (s *story) things() []thing {
	labels := map[string]string{"app": "agent"}
	pod := corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{Name: "agent", Image: "agent"}}}
	return []thing{
		{discoveryv1.SchemeGroupVersion.WithResource("endpointslices"), s.name, "web", &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}, AddressType: discoveryv1.AddressTypeIPv4,
		}},
		{corev1.SchemeGroupVersion.WithResource("namespaces"), "", s.name, nil},
		{corev1.SchemeGroupVersion.WithResource("pods"), s.name, "agent", &corev1.Pod{Spec: pod}},
		{appsv1.SchemeGroupVersion.WithResource("daemonsets"), s.name, "agent", &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		}}},
		{corev1.SchemeGroupVersion.WithResource("configmaps"), "kube-system", "kubeadm-config", &corev1.ConfigMap{}},
		{admissionv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), "", s.name, &admissionv1.ValidatingWebhookConfiguration{}},
		{admissionv1.SchemeGroupVersion.WithResource("mutatingwebhookconfigurations"), "", s.name, &admissionv1.MutatingWebhookConfiguration{}},
		{v3.SchemeGroupVersion.WithResource("tiers"), "", "default", nil},
		{v3.SchemeGroupVersion.WithResource("ippools"), "", s.name, &v3.IPPool{Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/16"}}},
		{v3.SchemeGroupVersion.WithResource("clusterinformations"), "", "default", nil},
		{schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}, "", "v3.projectcalico.org", nil},
	}
}

// furnish creates the things that do not exist.
func (s *story) furnish() {
	s.t.Helper()
	for _, is := range s.things() {
		if is.object == nil {
			continue
		}
		is.object.SetNamespace(is.namespace)
		is.object.SetName(is.name)
		s.create(is.object)
		s.t.Cleanup(func() {
			s.Expect(client.IgnoreNotFound(s.admin.Delete(context.Background(), is.object, client.GracePeriodSeconds(0)))).To(Succeed())
		})
	}
}

// touch changes a label of the things of the kinds.
func (s *story) touch(kinds []string) {
	s.t.Helper()
	s.touched++
	body := fmt.Appendf(nil, `{"metadata":{"labels":{"touched":"%d"}}}`, s.touched)
	for _, is := range s.things() {
		if !slices.Contains(kinds, is.of.Resource) {
			continue
		}
		var of dynamic.ResourceInterface = s.anything.Resource(is.of)
		if is.namespace != "" {
			of = s.anything.Resource(is.of).Namespace(is.namespace)
		}
		_, err := of.Patch(context.Background(), is.name, types.MergePatchType, body, metav1.PatchOptions{})
		s.Expect(err).NotTo(HaveOccurred())
	}
}
