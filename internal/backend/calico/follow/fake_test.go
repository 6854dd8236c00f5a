// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"
	"encoding/json"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// server is an API server in memory.
type server struct {
	mu        sync.Mutex // guards the map
	resources map[string]*resource
	memory    int64 // of the operator
}

// resource is what the server has of one resource.
type resource struct {
	mu      sync.Mutex
	objects []runtime.Object
	fails   error // the error that lists return, if not nil
	hangs   bool  // lists are never answered
	deaf    error // the error that watches return
	mute    bool  // watches are never answered
	lists   int
	watch   *watch.FakeWatcher
	asked   metav1.ListOptions // by the last watch
}

// newServer has a healthy Calico: a ready datastore, and no other objects.
func newServer() *server {
	s := &server{resources: map[string]*resource{}}
	s.of("apiservices").objects = []runtime.Object{service("v3.projectcalico.org", nil)}
	information := &v3.ClusterInformation{ObjectMeta: meta("default", "1")}
	information.Spec.DatastoreReady = ptr.To(true)
	s.of("clusterinformations").objects = []runtime.Object{information}
	s.of("tiers").objects = []runtime.Object{&v3.Tier{ObjectMeta: meta("b", "1")}, &v3.Tier{ObjectMeta: meta("a", "2")}}
	return s
}

func (s *server) of(name string) *resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resources[name] == nil {
		s.resources[name] = &resource{}
	}
	return s.resources[name]
}

func (s *server) list(ctx context.Context, k kind, o metav1.ListOptions, bytes int64, do func(runtime.Object) error) (string, error) {
	objects, err := s.of(k.Resource).list(ctx)
	if err != nil {
		return "", err
	}
	read := int64(0)
	for _, object := range objects {
		if !selected(object, o) {
			continue
		}
		if text, _ := json.Marshal(object); bytes > 0 {
			if read += int64(len(text)); read > bytes {
				return "", errAnswerTooLong
			}
		}
		if err := do(object.DeepCopyObject()); err != nil {
			return "", err
		}
	}
	return "10", nil
}

// selected tells whether a request selects an object. Of labels, only the key matters.
func selected(object runtime.Object, o metav1.ListOptions) bool {
	of := object.(client.Object)
	_, labelled := of.GetLabels()[o.LabelSelector]
	name, named := strings.CutPrefix(o.FieldSelector, "metadata.name=")
	return (o.LabelSelector == "" || labelled) && (!named || of.GetName() == name)
}

func (s *server) watch(ctx context.Context, k kind, o metav1.ListOptions) (watch.Interface, error) {
	r := s.of(k.Resource)
	w, err := r.follow(ctx)
	r.set(func(r *resource) { r.asked = o })
	return w, err
}

func (r *resource) follow(ctx context.Context) (watch.Interface, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute {
		r.mu.Unlock()
		<-ctx.Done()
		r.mu.Lock()
		return nil, ctx.Err()
	}
	if r.deaf != nil {
		return nil, r.deaf
	}
	r.watch = watch.NewFakeWithChanSize(10, false)
	return r.watch, nil
}

func (r *resource) list(ctx context.Context) ([]runtime.Object, error) {
	r.mu.Lock()
	hangs := r.hangs
	r.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	return slices.Clone(r.objects), r.fails
}

// set changes how the resource answers.
func (r *resource) set(change func(*resource)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func meta(name, version string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, ResourceVersion: version}
}

// service is an APIService; edit may change it.
func service(name string, edit func(u *unstructured.Unstructured)) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"group": "projectcalico.org", "version": "v3"}}}
	u.SetAPIVersion("apiregistration.k8s.io/v1")
	u.SetKind("APIService")
	u.SetName(name)
	u.SetUID("1")
	u.SetResourceVersion("1")
	if edit != nil {
		edit(u)
	}
	return u
}

// world is a follower of a server, with the number of changes that the follower reported.
type world struct {
	*WithT
	*server
	*Follower
	changes atomic.Int64
}

// bubble runs a test with a follower of a server, with a clock of its own. The setup runs before the follower starts.
func bubble(t *testing.T, setUp func(*server), test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{WithT: NewWithT(t), server: newServer()}
		if setUp != nil {
			setUp(w.server)
		}
		w.Follower = newFollowerFrom(w.server, Options{Memory: w.memory, Changed: func() { w.changes.Add(1) }})
		w.Expect(w.Read().Problem).To(Equal(findingOut))
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		ended := make(chan error, 1)
		go func() { ended <- w.Start(ctx) }()
		synctest.Wait()
		test(w)

		cancel()
		began := time.Now()
		w.Expect(<-ended).To(Succeed())
		w.Expect(time.Since(began)).To(BeZero(), "the follower ends at once")
		synctest.Wait()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:goruntime.Stack(stacks, true)]
		w.Expect(string(stacks)).NotTo(ContainSubstring("calicowatch.(*reading)"), "no goroutine is left")
		changes := w.changes.Load()
		<-time.After(time.Hour) // of the bubble
		w.Expect(w.changes.Load()).To(Equal(changes), "no timer is left")
	})
}

// pass advances the clock, and lets everything run that is due meanwhile.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
