// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// server is an API server that counts its lists of enactments.
type server struct {
	enactments []v1alpha1.ControlPlaneNodeEnactment
	calico     calico.Live
	asked      int
	fails      error
}

// List returns the enactments, and no objects of other kinds.
func (s *server) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if of, is := list.(*v1alpha1.ControlPlaneNodeEnactmentList); is {
		s.asked++
		of.Items = s.enactments
	}
	return s.fails
}

// Get fails, because a confirmation only lists.
func (s *server) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nobody gets")
}

func recordAt(version string) v1alpha1.ControlPlaneNodeEnactment {
	return v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: "p.cp-1", ResourceVersion: version}}
}

func confirming(s *server) (*Reconciler, *clocktesting.FakePassiveClock) {
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return &Reconciler{
		Confirmed: &freshness.Confirmed{Looked: now.Now().Add(-time.Hour)}, Repairer: repair.Repairer{Clock: now}, // hosts are concerned
		Observe: state.Observer{Live: s, BackendNow: func(context.Context) (backend.Live, error) { return s.calico, nil }},
	}, now
}

func showing(versions ...string) state.Snapshot {
	var snapshot state.Snapshot
	for _, version := range versions {
		snapshot.Outlived = append(snapshot.Outlived, recordAt(version))
	}
	return snapshot
}

// After a start the operator asks the API server once, and again only while the cache is
// older than the answer.
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
	calicotest.Edit(&readable.Backend, func(c *calico.Live) { c.Mode = calico.Native })
	see(readable)
	g.Expect(s.asked).To(Equal(3), "what is read of Calico anew may be old")
	see(readable)
	g.Expect(s.asked).To(Equal(3))
}

func TestDeletedEnactmentIsNotReturnedAgain(t *testing.T) {
	g := NewWithT(t)
	s := &server{}
	r, _ := confirming(s)
	shown, again := r.confirm(t.Context(), showing("9"))
	g.Expect(shown.Outlived).To(BeEmpty())
	g.Expect(again.RequeueAfter).To(Equal(timing.AskAgain))
}

// While the API server does not answer, no restriction follows from the cache.
func TestSnapshotIsUnconfirmedWhileTheAPIServerDoesNotAnswer(t *testing.T) {
	g := NewWithT(t)
	s := &server{fails: errors.New("no answer")}
	r, _ := confirming(s)
	shown, _ := r.confirm(t.Context(), showing("9"))
	g.Expect(shown.Unconfirmed).To(BeTrue())
	g.Expect(shown.ConfirmError).To(MatchError(ContainSubstring("no answer")))
}

// The cache must show every write of the operator. The operator waits for a moment, and then
// asks the API server.
func TestCacheMustShowEveryWriteOfTheOperator(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "x", errors.New("changed"))
	gone := map[string]bool{"": true, "10": true, "11": false}
	for name, test := range map[string]struct {
		write  func(*freshness.Confirmed, time.Time)
		cached map[string]bool // by the version that is shown, whether it shows the write
	}{
		"written": {func(c *freshness.Confirmed, now time.Time) {
			c.Wrote(drift.Object{Kind: drift.KindEnactment, Name: "p.cp-1"}, "10", false, now)
		}, map[string]bool{"": false, "9": false, "10": true, "11": true}},
		"deleted": {func(c *freshness.Confirmed, now time.Time) {
			c.Wrote(drift.Object{Kind: drift.KindEnactment, Name: "p.cp-1"}, "10", true, now)
		}, map[string]bool{"": true, "9": false, "10": false, "11": true}},
		"the answer was lost":        {func(c *freshness.Confirmed, _ time.Time) { c.Failed(context.DeadlineExceeded) }, gone},
		"the cache was behind":       {func(c *freshness.Confirmed, _ time.Time) { c.Failed(conflict) }, gone},
		"it was refused for a cause": {func(c *freshness.Confirmed, _ time.Time) { c.Failed(apierrors.NewInternalError(errors.New("x"))) }, nil},
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
				if (name == "written" || name == "deleted") && !shows {
					shown, again := r.confirm(t.Context(), cached)
					g.Expect(shown.Unconfirmed).To(BeTrue())
					g.Expect(again.RequeueAfter).To(Equal(timing.CacheLag))
					now.SetTime(now.Now().Add(timing.CacheLag))
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
