// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	shipped "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// server is what the API server has, and how often it was asked.
type server struct {
	enactments []v1alpha1.ControlPlaneNodeEnactment
	calico     state.Calico
	asked      int
	fails      error
}

// List answers with the enactments, and with nothing of all other kinds.
func (s *server) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if of, is := list.(*v1alpha1.ControlPlaneNodeEnactmentList); is {
		s.asked++
		of.Items = s.enactments
	}
	return s.fails
}

// Get is not asked for.
func (s *server) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nobody gets")
}

func recordAt(version string) v1alpha1.ControlPlaneNodeEnactment {
	return v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: "p.cp-1", ResourceVersion: version}}
}

func confirming(s *server) (*PolicyReconciler, *clocktesting.FakePassiveClock) {
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return &PolicyReconciler{
		Confirmed: &Confirmed{looked: now.Now().Add(-time.Hour)}, Repairer: Repairer{Clock: now}, // hosts are concerned
		Observe: state.Observer{Live: s, CalicoNow: func(context.Context) (state.Calico, error) { return s.calico, nil }},
	}, now
}

func showing(versions ...string) state.Snapshot {
	var snapshot state.Snapshot
	for _, version := range versions {
		snapshot.Outlived = append(snapshot.Outlived, recordAt(version))
	}
	return snapshot
}

// An operator that begins asks the API server once, and again as long as the cache does
// not show at least that.
func TestTheCacheIsConfirmedOnce(t *testing.T) {
	g := NewWithT(t)
	s := &server{enactments: []v1alpha1.ControlPlaneNodeEnactment{recordAt("12")}}
	r, now := confirming(s)
	see := func(cached state.Snapshot) state.Snapshot {
		now.SetTime(now.Now().Add(time.Second))
		shown, _ := r.confirm(t.Context(), cached)
		return shown
	}
	g.Expect(see(showing("9")).Outlived).To(Equal(showing("12").Outlived), "the cache is behind, also by numbers of fewer digits")
	g.Expect(see(showing()).Outlived).To(HaveLen(1), "it lacks one")
	g.Expect(see(showing("12")).Unconfirmed).To(BeFalse())
	g.Expect(s.asked).To(Equal(2), "it shows now what it lacked")
	g.Expect(see(showing("13")).Outlived).To(Equal(showing("13").Outlived))
	g.Expect(s.asked).To(Equal(2), "not again")

	readable := showing("13")
	readable.Calico.Mode = state.CalicoNative
	see(readable)
	g.Expect(s.asked).To(Equal(3), "what is read of Calico anew may be old")
	see(readable)
	g.Expect(s.asked).To(Equal(3))
}

func TestWhatIsGoneIsNotShownAgain(t *testing.T) {
	g := NewWithT(t)
	s := &server{}
	r, _ := confirming(s)
	shown, again := r.confirm(t.Context(), showing("9"))
	g.Expect(shown.Outlived).To(BeEmpty())
	g.Expect(again.RequeueAfter).To(Equal(lookAgain))
}

// Where the API server cannot be asked, nothing that restricts follows from the cache.
func TestWhatCannotBeConfirmedIsSaidToBe(t *testing.T) {
	g := NewWithT(t)
	s := &server{fails: errors.New("no answer")}
	r, _ := confirming(s)
	shown, _ := r.confirm(t.Context(), showing("9"))
	g.Expect(shown.Unconfirmed).To(BeTrue())
	g.Expect(shown.ConfirmError).To(MatchError(ContainSubstring("no answer")))
}

// The cache has to show every own write; for a moment that is waited for, and then the
// API server is asked.
func TestTheCacheHasToShowEveryOwnWrite(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "x", errors.New("changed"))
	gone := map[string]bool{"": true, "10": true, "11": false}
	for name, test := range map[string]struct {
		write  func(*Confirmed, time.Time)
		cached map[string]bool // by the version that is shown, whether it shows the write
	}{
		"written": {func(c *Confirmed, now time.Time) {
			c.wrote(drift.Object{Kind: kindEnactment, Name: "p.cp-1"}, "10", false, now)
		}, map[string]bool{"": false, "9": false, "10": true, "11": true}},
		"deleted": {func(c *Confirmed, now time.Time) {
			c.wrote(drift.Object{Kind: kindEnactment, Name: "p.cp-1"}, "10", true, now)
		}, map[string]bool{"": true, "9": false, "10": false, "11": true}},
		"the answer was lost":        {func(c *Confirmed, _ time.Time) { c.failed(context.DeadlineExceeded) }, gone},
		"the cache was behind":       {func(c *Confirmed, _ time.Time) { c.failed(conflict) }, gone},
		"it was refused for a cause": {func(c *Confirmed, _ time.Time) { c.failed(apierrors.NewInternalError(errors.New("x"))) }, nil},
	} {
		for version, shows := range test.cached {
			t.Run(name+", shown "+version, func(t *testing.T) {
				g := NewWithT(t)
				s := &server{}
				r, now := confirming(s)
				r.confirm(t.Context(), showing())
				g.Expect(s.asked).To(Equal(1))
				now.SetTime(now.Now().Add(time.Minute))
				test.write(r.Confirmed, now.Now())
				cached := showing(version)
				if version == "" {
					cached = showing()
				}
				if len(r.Confirmed.writes) > 0 && !shows {
					shown, again := r.confirm(t.Context(), cached)
					g.Expect(shown.Unconfirmed).To(BeTrue())
					g.Expect(again.RequeueAfter).To(Equal(cacheLag))
					now.SetTime(now.Now().Add(cacheLag))
				}
				if name == "the answer was lost" || name == "the cache was behind" {
					shows = false
				}
				r.confirm(t.Context(), cached)
				g.Expect(s.asked == 1).To(Equal(shows))
			})
		}
		if test.cached == nil {
			t.Run(name, func(t *testing.T) {
				g := NewWithT(t)
				s := &server{}
				r, now := confirming(s)
				r.confirm(t.Context(), showing())
				test.write(r.Confirmed, now.Now())
				r.confirm(t.Context(), showing())
				g.Expect(s.asked).To(Equal(1))
			})
		}
	}
}

// Every write of what rollouts are decided by is noted, with the version that it has then.
func TestOwnWritesAreNoted(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Now())
	confirmed := &Confirmed{caughtUp: true}
	api := fake.NewClientBuilder().WithScheme(shipped.NewScheme()).WithStatusSubresource(&v1alpha1.ControlPlaneNodeEnactment{}).Build()
	c := &noting{api, confirmed, now}
	e := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: "p.cp-1"}}
	of := drift.Object{Kind: kindEnactment, Name: e.Name}
	last := func() ownWrite { return confirmed.writes[of] }
	g.Expect(c.Create(t.Context(), e)).To(Succeed())
	g.Expect(last().version).To(Equal(e.ResourceVersion))
	changed := e.DeepCopy()
	changed.Spec.Node = "cp-1"
	g.Expect(c.Patch(t.Context(), changed, client.MergeFrom(e))).To(Succeed())
	g.Expect(last().version).To(And(Equal(changed.ResourceVersion), Not(Equal(e.ResourceVersion))))
	status := changed.DeepCopy()
	status.Status.Ruleset = "x"
	g.Expect(c.Status().Patch(t.Context(), status, client.MergeFrom(changed))).To(Succeed())
	g.Expect(last().version).To(And(Equal(status.ResourceVersion), Not(Equal(changed.ResourceVersion))))
	g.Expect(c.Delete(t.Context(), status)).To(Succeed())
	g.Expect(last()).To(Equal(ownWrite{version: status.ResourceVersion, gone: true, at: now.Now()}))
	g.Expect(confirmed.caughtUp).To(BeTrue())

	g.Expect(c.Create(t.Context(), &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "x"}})).To(Succeed())
	g.Expect(confirmed.writes).To(HaveKey(drift.Object{Kind: v3.KindHostEndpoint, Name: "x"}))
	g.Expect(client.IgnoreNotFound(c.Delete(t.Context(), status))).To(Succeed())
	g.Expect(confirmed.caughtUp).To(BeFalse(), "what is not there was shown by the cache")
}

// An apply is answered with what it made of the object.
func TestOwnAppliesAreNoted(t *testing.T) {
	g := NewWithT(t)
	confirmed := &Confirmed{}
	c := &noting{answering{version: "17"}, confirmed, clocktesting.NewFakePassiveClock(time.Now())}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v3.SchemeGroupVersion.WithKind(v3.KindHostEndpoint))
	object.SetName("x")
	g.Expect(c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object))).To(Succeed())
	g.Expect(confirmed.writes[drift.Object{Kind: v3.KindHostEndpoint, Name: "x"}].version).To(Equal("17"))
}

// answering is an API server that answers applies with a version.
type answering struct {
	client.Client
	version string
}

func (a answering) Apply(_ context.Context, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	object.(interface{ SetResourceVersion(version string) }).SetResourceVersion(a.version)
	return nil
}
