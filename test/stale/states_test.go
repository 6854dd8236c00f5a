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

// kinds are the kinds that the operator writes.
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

// change is one change of one object. All kinds are in one etcd, so that the
// resourceVersion shows the order of changes.
type change struct {
	version  int64
	resource string
	object   *unstructured.Unstructured
	gone     bool
}

func (c change) key() string {
	return c.resource + " " + c.object.GetNamespace() + "/" + c.object.GetName()
}

// states are all changes of a cluster since a moment, straight from the API server.
type states struct {
	*place
	t      *testing.T
	before []change
	mu     sync.Mutex
	told   map[string]change // the last change of every object
	after  []change          // changes that no caller has taken
}

// watchStates follows all kinds from now on.
func (p *place) watchStates(t *testing.T) *states {
	t.Helper()
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(context.Background())
	s := &states{place: p, t: t, told: map[string]change{}}
	var ended sync.WaitGroup
	t.Cleanup(func() { cancel(); ended.Wait() })
	for _, kind := range kinds {
		list, err := p.anything.Resource(kind).List(ctx, metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		for i := range list.Items {
			c := s.changeOf(kind.Resource, &list.Items[i], false)
			s.before = append(s.before, c)
			s.mu.Lock()
			s.told[c.key()] = c
			s.mu.Unlock()
		}
		w, err := p.anything.Resource(kind).Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
		g.Expect(err).NotTo(HaveOccurred())
		ended.Go(func() { s.follow(ctx, kind.Resource, w) })
	}
	return s
}

func (s *states) follow(ctx context.Context, resource string, w watch.Interface) {
	defer w.Stop()
	for event := range w.ResultChan() {
		if ctx.Err() != nil {
			return
		}
		object, is := event.Object.(*unstructured.Unstructured)
		if !is || event.Type == watch.Bookmark || event.Type == watch.Error {
			s.t.Errorf("the watch of %s: %v", resource, event.Object)
			return
		}
		c := s.changeOf(resource, object, event.Type == watch.Deleted)
		s.mu.Lock()
		s.told[c.key()], s.after = c, append(s.after, c)
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

// take returns all changes until now that were not taken before, oldest first.
func (s *states) take() []change {
	s.t.Helper()
	g := NewWithT(s.t)
	last := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "last-"}}
	g.Expect(s.admin.Create(context.Background(), last)).To(Succeed())
	g.Expect(s.admin.Delete(context.Background(), last)).To(Succeed())
	until, err := strconv.ParseInt(last.ResourceVersion, 10, 64)
	g.Expect(err).NotTo(HaveOccurred())
	for _, kind := range kinds {
		list, err := s.anything.Resource(kind).List(context.Background(), metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		at, err := strconv.ParseInt(list.GetResourceVersion(), 10, 64)
		g.Expect(err).NotTo(HaveOccurred())
		g.Eventually(func() bool { return s.has(kind.Resource, list.Items, at) }, 10*time.Second, 10*time.Millisecond).Should(BeTrue(), kind.Resource)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.after, func(a, b change) int { return cmp.Compare(a.version, b.version) })
	end, _ := slices.BinarySearchFunc(s.after, until+1, func(c change, v int64) int { return cmp.Compare(c.version, v) })
	taken := slices.Clone(s.after[:end])
	s.after = slices.Clone(s.after[end:])
	return taken
}

// has tells whether all changes of a kind until a list have arrived.
func (s *states) has(resource string, objects []unstructured.Unstructured, at int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[string]bool{}
	for i := range objects {
		c := s.changeOf(resource, &objects[i], false)
		there[c.key()] = true
		if s.told[c.key()].version < c.version {
			return false
		}
	}
	for key, c := range s.told {
		if c.resource == resource && !c.gone && !there[key] && c.version <= at {
			return false
		}
	}
	return true
}
