// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// fullServices is an API server with so many Services, each with a mebibyte of metadata.
type fullServices struct {
	count  int
	limits []int
}

func (f *fullServices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	f.limits = append(f.limits, limit)
	list := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}}
	for i := from; i < min(from+limit, f.count); i++ {
		item := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("s-%03d", i)}}
		item.Annotations = map[string]string{v1alpha1.AnnotationRecord: "{}", "full": strings.Repeat("x", 1<<20)}
		list.Items = append(list.Items, item)
	}
	if from+limit < f.count {
		list.Continue = fmt.Sprint(from + limit)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list) // the reader may hang up
}

func liveAt(t *testing.T, handler http.Handler) state.Observer {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	live, err := client.New(state.LimitAnswers(&rest.Config{Host: server.URL, QPS: -1}), client.Options{Scheme: clientgoscheme.Scheme, Mapper: mapper})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return state.Observer{Live: live}
}

// Anyone who may write objects can fill them with data. A page of a hundred
// full objects would exceed the operator's memory.
func TestPagesOfFullObjectsAreSmall(t *testing.T) {
	g := NewWithT(t)
	full := &fullServices{count: 40}
	services, err := liveAt(t, full).ServicesNow(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(services).To(HaveLen(40))
	for i, service := range services {
		g.Expect(service.Name).To(Equal(fmt.Sprintf("s-%03d", i)), "each Service once")
		g.Expect(service.Annotations).NotTo(HaveKey("full"))
	}
	g.Expect(full.limits[:3]).To(HaveExactElements(100, 25, 6), "a page that is too large is read again in parts")
	g.Expect(len(full.limits)).To(BeNumerically("<", 20))
}

// filled is an API server with NetworkPolicies of the operator's name, and pods, full of foreign data.
type filled struct{ pages }

func (f *filled) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	full := metav1.ObjectMeta{
		Namespace: "n", Name: "cpnp.p.x", Labels: map[string]string{v1alpha1.LabelPolicy: "p"},
		Annotations:     map[string]string{"full": strings.Repeat("x", 1<<20), corev1.MirrorPodAnnotationKey: "mirror"},
		OwnerReferences: []metav1.OwnerReference{{Name: strings.Repeat("x", 1<<20)}},
	}
	for i := range 1000 {
		full.Labels[fmt.Sprintf("a.k8s.io/%050d", i)] = "crowd"
	}
	switch l := list.(type) {
	case *metav1.PartialObjectMetadataList:
		l.Items = []metav1.PartialObjectMetadata{{ObjectMeta: full}}
	case *corev1.PodList:
		pod := corev1.Pod{ObjectMeta: full, Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "k"}}}}
		pod.Spec.Containers = []corev1.Container{{Args: []string{strings.Repeat("x", 1<<20)}}}
		l.Items = []corev1.Pod{pod}
	}
	return nil
}

// Of an object read from the API server, no more is kept than in the cache.
func TestFullObjectsAreReduced(t *testing.T) {
	g := NewWithT(t)
	o := state.Observer{Live: &filled{}}
	policies, err := o.NetworkPoliciesNow(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(policies).To(HaveLen(1))
	g.Expect(policies[0].Size()).To(BeNumerically("<", 32<<10))
	g.Expect(policies[0].Labels).To(HaveKeyWithValue(v1alpha1.LabelPolicy, "p"), "the owner's label cannot be crowded out")
	pods, err := o.PodsOn(t.Context(), "cp-1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pods).To(HaveLen(1))
	g.Expect(pods[0].Size()).To(BeNumerically("<", 1<<10))
	g.Expect(pods[0].Spec.Tolerations).To(HaveLen(1))
	g.Expect(pods[0].Annotations).To(HaveKey(corev1.MirrorPodAnnotationKey))
}
