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

// moving are the kinds that are watched and that change in the scenarios; still are the
// others: something of them is touched meanwhile.
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

// How long what is old is shown: longer than the operator relies on the cache without
// having seen its own writes, or asks again.
const (
	holdFor  = 1000 * time.Millisecond
	lateBy   = 400 * time.Millisecond
	cutEvery = 150 * time.Millisecond
)

// fault is how kinds are shown that are old, while something happens.
type fault struct {
	name string
	// shown shows them so, has it happen, and shows them as they are again.
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
		s.lasts(time.Duration(100+random.IntN(1200)) * time.Millisecond)
		s.stop()
		s.proxy.Old(kinds...)
		s.proxy.Freeze(kinds...)
		s.start()
		s.lasts(holdFor)
	}},
}

// thing is an object of a kind that stands still.
type thing struct {
	of              schema.GroupVersionResource
	namespace, name string
	object          client.Object // nil if it is there anyway
}

// things are one of each of these kinds.
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

// furnish makes those that are not there.
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

// touch changes what there is of the kinds that stand still.
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
