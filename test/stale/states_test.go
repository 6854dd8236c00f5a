// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// kinds are those that the operator writes.
var kinds = []schema.GroupVersionResource{
	v1alpha1.SchemeGroupVersion.WithResource("controlplanenetworkpolicies"),
	v1alpha1.SchemeGroupVersion.WithResource("controlplanenodeenactments"),
	v1alpha1.SchemeGroupVersion.WithResource("controlplanenoderecords"),
	v3.SchemeGroupVersion.WithResource("tiers"),
	v3.SchemeGroupVersion.WithResource("globalnetworksets"),
	v3.SchemeGroupVersion.WithResource("globalnetworkpolicies"),
	v3.SchemeGroupVersion.WithResource("hostendpoints"),
	v3.SchemeGroupVersion.WithResource("felixconfigurations"),
	networkingv1.SchemeGroupVersion.WithResource("networkpolicies"),
	corev1.SchemeGroupVersion.WithResource("nodes"),
	corev1.SchemeGroupVersion.WithResource("services"),
}

// change is what happened to one object. All kinds are in one etcd, so that the
// resourceVersion says which change came first.
type change struct {
	version  int64
	resource string
	object   *unstructured.Unstructured
	gone     bool
}

// states are all changes of a cluster since a moment, straight from the API server.
type states struct {
	t      *testing.T
	stop   context.CancelFunc
	ended  sync.WaitGroup
	mu     sync.Mutex
	before []change
	after  []change
}

// watchStates follows all kinds from now on.
func watchStates(t *testing.T) *states {
	t.Helper()
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(context.Background())
	s := &states{t: t, stop: cancel}
	t.Cleanup(cancel)
	for _, kind := range kinds {
		list, err := anything.Resource(kind).List(ctx, metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		for i := range list.Items {
			s.before = append(s.before, s.changeOf(kind.Resource, &list.Items[i], false))
		}
		w, err := anything.Resource(kind).Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
		g.Expect(err).NotTo(HaveOccurred())
		s.ended.Go(func() { s.follow(ctx, kind.Resource, w) })
	}
	return s
}

func (s *states) follow(ctx context.Context, resource string, w watch.Interface) {
	for event := range w.ResultChan() {
		if ctx.Err() != nil {
			return
		}
		object, is := event.Object.(*unstructured.Unstructured)
		if !is || event.Type == watch.Bookmark || event.Type == watch.Error {
			s.t.Errorf("the watch of %s: %v", resource, event.Object)
			return
		}
		s.mu.Lock()
		s.after = append(s.after, s.changeOf(resource, object, event.Type == watch.Deleted))
		s.mu.Unlock()
	}
}

func (s *states) changeOf(resource string, object *unstructured.Unstructured, gone bool) change {
	version, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		s.t.Errorf("%s %s: %v", resource, object.GetName(), err)
	}
	return change{version: version, resource: resource, object: object, gone: gone}
}

// all returns every change, oldest first, once what is there has been told.
func (s *states) all() (before, after []change) {
	s.t.Helper()
	g := NewWithT(s.t)
	last := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "last-"}}
	g.Expect(admin.Create(context.Background(), last)).To(Succeed())
	g.Expect(admin.Delete(context.Background(), last)).To(Succeed())
	for _, kind := range kinds {
		list, err := anything.Resource(kind).List(context.Background(), metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Eventually(func() bool { return s.has(kind.Resource, list.Items) }, 10*time.Second, 10*time.Millisecond).Should(BeTrue(), kind.Resource)
	}
	s.stop()
	s.ended.Wait()
	slices.SortStableFunc(s.after, func(a, b change) int { return cmp.Compare(a.version, b.version) })
	return s.before, s.after
}

// has says whether these objects of a kind, and no others, are what came of the changes.
func (s *states) has(resource string, objects []unstructured.Unstructured) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := map[string]string{}
	for _, c := range slices.Concat(s.before, s.after) {
		key := c.object.GetNamespace() + "/" + c.object.GetName()
		switch {
		case c.resource != resource:
		case c.gone:
			delete(is, key)
		default:
			is[key] = c.object.GetResourceVersion()
		}
	}
	for i := range objects {
		key := objects[i].GetNamespace() + "/" + objects[i].GetName()
		if is[key] != objects[i].GetResourceVersion() {
			return false
		}
		delete(is, key)
	}
	return len(is) == 0
}
