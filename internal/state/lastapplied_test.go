// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func copyOf(text string) map[string]string {
	return map[string]string{corev1.LastAppliedConfigAnnotation: text}
}

// However large a foreign annotation is, only the few relevant fields are kept. Reducing
// the annotation a second time changes nothing, because a cache may reduce twice.
func TestLastAppliedAnnotationIsReducedToRelevantFields(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a relevant field": {`{"spec":{"externalTrafficPolicy":"Local","type":"NodePort"}}`, `{"spec":{"externalTrafficPolicy":"Local"}}`},
		"several": {`{"spec":{"trafficDistribution":"PreferClose","internalTrafficPolicy":"Local"}}`,
			`{"spec":{"internalTrafficPolicy":"Local","trafficDistribution":"PreferClose"}}`},
		"no relevant field":             {`{"spec":{"type":"NodePort"}}`, `{}`},
		"no spec":                       {`{"metadata":{}}`, `{}`},
		"a long value":                  {`{"spec":{"externalTrafficPolicy":"` + strings.Repeat("x", 5000) + `"}}`, `{"spec":{"externalTrafficPolicy":null}}`},
		"an object in place of a value": {`{"spec":{"externalTrafficPolicy":{"a":1}}}`, `{"spec":{"externalTrafficPolicy":{"a":1}}}`},
		"too much text":                 {`{"spec":{"x":"` + strings.Repeat("x", 70_000) + `"}}`, ""},
		"no JSON":                       {`{"spec":`, ""},
		"deep":                          {strings.Repeat("[", 60_000), ""},
		"a spec that is no object":      {`{"spec":7}`, ""},
		"nothing":                       {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			service := through(t, state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: copyOf(test.text)}})
			g.Expect(service.Annotations[corev1.LastAppliedConfigAnnotation]).To(Equal(test.want))
			again := through(t, state.TransformService, service)
			g.Expect(again.Annotations).To(Equal(service.Annotations))
		})
	}
}

// Most objects of a cluster that is kept in git declare none of the relevant fields. Such objects cost no memory.
func TestServicesThatDeclareNothingShareOneMap(t *testing.T) {
	g := NewWithT(t)
	first := through(t, state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: copyOf(`{"spec":{"type":"a"}}`)}})
	second := through(t, state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: copyOf(`{"spec":{"type":"b"}}`)}})
	g.Expect(fmt.Sprintf("%p", first.Annotations)).To(Equal(fmt.Sprintf("%p", second.Annotations)))
}

func TestManagerOfAClientSideApplyIsKept(t *testing.T) {
	managers := []metav1.ManagedFieldsEntry{
		manages("argocd-controller", `{"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}`),
		manages("kubectl-edit", `{"f:spec":{"f:externalTrafficPolicy":{},"f:type":{}}}`),
		manages("other", `{"f:spec":{"f:type":{}},"f:metadata":{"f:annotations":{"f:argocd.argoproj.io/tracking-id":{}}}}`),
	}
	for text, want := range map[string][]string{
		`{"spec":{"externalTrafficPolicy":"Local"}}`: {"argocd-controller", "kubectl-edit"},
		`{"spec":{"type":"NodePort"}}`:               {"kubectl-edit"},
	} {
		service := through(t, state.TransformService, &corev1.Service{ObjectMeta: full(copyOf(text), managers...)})
		var names []string
		for _, entry := range service.ManagedFields {
			names = append(names, entry.Manager)
		}
		NewWithT(t).Expect(names).To(Equal(want), text)
	}
}

func TestManagedNetworkPolicyKeepsTheMarkOfAnApply(t *testing.T) {
	g := NewWithT(t)
	raw := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Name: "cpnp.p.coredns", Annotations: map[string]string{"x": "y", corev1.LastAppliedConfigAnnotation: strings.Repeat("x", 200_000)},
	}}
	slim := through(t, state.TransformNetworkPolicy, raw)
	g.Expect(slim.Annotations).To(Equal(map[string]string{"x": "y", corev1.LastAppliedConfigAnnotation: "{}"}))
	g.Expect(raw.Annotations[corev1.LastAppliedConfigAnnotation]).To(HaveLen(200_000), "the object from the API server is unchanged")
}
