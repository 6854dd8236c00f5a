// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

var forbidden = apierrors.NewForbidden(v3.Resource("ippools"), "", errors.New("no"))

func TestReadReturnsTheFollowedObjects(t *testing.T) {
	bubble(t, nil, func(w *world) {
		c := w.Read()
		w.Expect(c.Mode).To(Equal(calico.Native))
		w.Expect(c.Problem).To(BeEmpty())
		w.Expect(c.Tiers).To(HaveExactElements(HaveField("Name", "a"), HaveField("Name", "b")))
		w.Expect(c.Tiers).To(HaveCap(2), "an append of the caller must not write into the follower's list")

		changes := w.changes.Load()
		w.of("tiers").watch.Modify(&v3.Tier{ObjectMeta: meta("a", "2")})
		pass(0)
		w.Expect(w.changes.Load()).To(Equal(changes), "the same version is no change")
		w.of("tiers").watch.Modify(&v3.Tier{ObjectMeta: meta("a", "3")})
		w.of("tiers").watch.Delete(&v3.Tier{ObjectMeta: meta("b", "3")})
		w.of("tiers").watch.Delete(&v3.Tier{ObjectMeta: meta("nobody", "3")})
		pass(0)
		w.Expect(w.changes.Load()).To(Equal(changes + 2))
		w.Expect(w.Read().Tiers).To(HaveExactElements(HaveField("ResourceVersion", "3")))
		w.Expect(c.Tiers).To(HaveLen(2), "a list that was returned does not change")
	})
}

// TestWatchEnds: a second list with the same content is no change and no problem.
func TestWatchEnds(t *testing.T) {
	bubble(t, nil, func(w *world) {
		changes := w.changes.Load()
		for i := range 8 {
			pass(time.Minute)
			w.of("tiers").watch.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
			pass(time.Second)
			w.Expect(w.of("tiers").lists).To(Equal(i+2), "the kind is listed again soon")
			pass(time.Minute)
			w.of("tiers").watch.Stop()
		}
		pass(time.Minute)
		w.Expect(w.changes.Load()).To(Equal(changes))

		w.of("tiers").set(func(r *resource) { r.objects = r.objects[:1] })
		w.of("tiers").watch.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		pass(time.Minute)
		w.Expect(w.changes.Load()).To(Equal(changes + 1))
		w.Expect(w.Read().Tiers).To(HaveLen(1))
	})
}

// TestPatience: a kind that cannot be listed becomes a problem after the
// patience, and stops being one once it can be listed.
func TestPatience(t *testing.T) {
	for name, c := range map[string]struct {
		amiss   func(*resource)
		problem string
	}{
		"forbidden": {
			func(r *resource) { r.fails = forbidden },
			"IPPool cannot be read: ippools.projectcalico.org is forbidden: no; grant the operator list and watch of ippools.projectcalico.org",
		},
		"not served": {
			func(r *resource) { r.fails = apierrors.NewNotFound(v3.Resource("ippools"), "") },
			"the server does not have ippools.projectcalico.org; complete or update the installation, with its CRDs",
		},
		"hangs": {
			func(r *resource) { r.hangs = true },
			"IPPool cannot be read: the server has not answered within 30s; check that the server runs",
		},
		"watch forbidden": {
			func(r *resource) { r.deaf = forbidden },
			"grant the operator list and watch",
		},
		"watch refused": {
			func(r *resource) {
				r.deaf = &net.OpError{Op: "read", Source: &net.TCPAddr{Port: 1234}, Err: syscall.ECONNREFUSED}
			},
			"IPPool cannot be read: read: connection refused; the operator tries again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *server) { c.amiss(s.of("ippools")) }, func(w *world) {
				w.Expect(w.Read().Tiers).To(HaveLen(2), "the other kinds are read")
				pass(timing.CalicoReadPatience - time.Second)
				w.Expect(w.Read().Problem).NotTo(ContainSubstring("IPPool"))
				pass(2 * time.Second)
				w.Expect(w.Read().Problem).To(ContainSubstring(c.problem))
				changes := w.changes.Load()
				pass(time.Hour)
				w.Expect(w.changes.Load()).To(Equal(changes), "the problem does not change")
				w.Expect(w.of("ippools").lists).To(BeNumerically("<", 400), "the retries become less frequent")
				if name == "hangs" {
					return // a request that was sent stays unanswered
				}
				w.of("ippools").set(func(r *resource) { r.fails, r.deaf = nil, nil })
				pass(20 * time.Second)
				w.Expect(w.Read().Problem).To(BeEmpty())
				w.Expect(w.changes.Load()).To(BeNumerically(">", changes))
			})
		})
	}
}

// TestLaterFailure: a kind that could be listed before becomes a problem too. The objects of the last list stay.
func TestLaterFailure(t *testing.T) {
	bubble(t, nil, func(w *world) {
		for _, name := range []string{"tiers", "hostendpoints"} {
			w.of(name).set(func(r *resource) { r.fails = errors.New("broken") })
			w.of(name).watch.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		}
		pass(timing.CalicoReadPatience - time.Second)
		w.Expect(w.Read().Problem).To(BeEmpty())
		pass(time.Minute)
		w.Expect(w.Read().Problem).To(Equal("Tier cannot be read: failed to list Tier: broken; the operator tries again; " +
			"check that the server runs; cannot be read either: HostEndpoint"))
		w.Expect(w.Read().Tiers).To(HaveLen(2))
	})
}

// TestLaterSilence: a server that stops answering is a problem as well.
func TestLaterSilence(t *testing.T) {
	const silence = "the server has not answered within 30s"
	for name, c := range map[string]struct {
		amiss   func(*resource)
		problem string
	}{
		"watch": {func(r *resource) { r.mute = true }, silence},
		"list":  {func(r *resource) { r.hangs = true }, silence},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *server) { s.of("ippools").fails = forbidden }, func(w *world) {
				pass(time.Minute)
				w.of("ippools").set(func(r *resource) { r.fails = nil })
				pass(time.Minute)
				w.Expect(w.Read().Problem).To(BeEmpty())
				w.of("ippools").set(c.amiss)
				w.of("ippools").watch.Add(&v3.IPPool{ObjectMeta: meta("p", "1")})
				if name == "watch" {
					w.of("ippools").watch.Stop()
				} else {
					w.of("ippools").watch.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
				}
				pass(time.Minute)
				w.Expect(w.Read().Problem).To(ContainSubstring(c.problem))
			})
		})
	}
}

// TestStop: a follower that is stopped while it waits reports no more changes.
func TestStop(t *testing.T) {
	bubble(t, func(s *server) { s.of("tiers").hangs = true }, func(w *world) {
		w.Expect(w.Read().Problem).To(Equal(beingRead))
	})
}

// TestRecovery: as soon as the API is available again it is read, however long it was unavailable.
func TestRecovery(t *testing.T) {
	set := func(s *server, version, status string) *unstructured.Unstructured {
		u := service(v3Service, func(u *unstructured.Unstructured) {
			u.SetResourceVersion(version)
			u.Object["spec"].(map[string]any)["service"] = map[string]any{"name": "calico-api"}
			u.Object["status"] = map[string]any{"conditions": []any{
				map[string]any{"type": "Other", "status": "False", "message": "another"},
				map[string]any{"type": "Available", "status": status, "message": "no endpoints"},
			}}
		})
		s.of("apiservices").objects = []runtime.Object{u}
		return u
	}
	bubble(t, func(s *server) {
		set(s, "1", "False")
		s.of("tiers").fails = errors.New("unavailable")
	}, func(w *world) {
		w.Expect(w.Read().Mode).To(Equal(calico.Aggregated))
		w.Expect(w.Read().Problem).To(HavePrefix("the API of Calico does not answer: no endpoints; check"))
		pass(time.Hour)
		w.Expect(w.Read().Problem).To(HavePrefix("the API of Calico does not answer: no endpoints; check"))
		w.of("tiers").set(func(r *resource) { r.fails = nil })
		w.of("apiservices").watch.Modify(set(w.server, "2", "True"))
		pass(0)
		w.Expect(w.Read().Problem).To(BeEmpty())
		w.Expect(w.Read().Tiers).To(HaveLen(2))

		w.of("apiservices").watch.Modify(set(w.server, "3", "False"))
		pass(0)
		w.Expect(w.Read().Problem).To(ContainSubstring("does not answer"))
		w.Expect(w.Read().Tiers).To(HaveLen(2), "the objects of the last list stay")
	})
}

// TestServedAnew: another registration is another API, even if it looks the same.
func TestServedAnew(t *testing.T) {
	bubble(t, nil, func(w *world) {
		w.of("tiers").set(func(r *resource) { r.hangs = true })
		w.of("apiservices").watch.Modify(service(v3Service, func(u *unstructured.Unstructured) {
			u.SetResourceVersion("2")
			u.SetUID("2")
		}))
		pass(0)
		w.Expect(w.Read().Problem).To(Equal(beingRead))
		w.Expect(w.Read().Tiers).To(BeEmpty())
		changes := w.changes.Load()
		w.of("apiservices").watch.Delete(service(v3Service, nil))
		pass(0)
		w.Expect(w.Read()).To(Equal(calico.Live{Mode: calico.Absent}))
		w.Expect(w.changes.Load()).To(BeNumerically(">", changes))
		w.Expect(w.of("hostendpoints").watch.IsStopped()).To(BeTrue())
		changes = w.changes.Load()
		pass(time.Hour)
		w.Expect(w.changes.Load()).To(Equal(changes))
	})
}

func TestDatastore(t *testing.T) {
	bubble(t, func(s *server) { s.of("clusterinformations").objects = nil }, func(w *world) {
		w.Expect(w.Read().Problem).To(Equal(notInitialised))
		changes := w.changes.Load()
		information := &v3.ClusterInformation{ObjectMeta: meta("other", "2")}
		w.of("clusterinformations").watch.Add(information)
		pass(0)
		w.Expect(w.Read().Problem).To(Equal(notInitialised), "another object than the one named default does not count")
		w.Expect(w.changes.Load()).To(Equal(changes))
		information = &v3.ClusterInformation{ObjectMeta: meta("default", "3")}
		w.of("clusterinformations").watch.Add(information)
		pass(0)
		w.Expect(w.Read().Problem).To(BeEmpty(), "an unset field is not false")
		information = &v3.ClusterInformation{ObjectMeta: meta("default", "4")}
		information.Spec.DatastoreReady = ptr.To(false)
		w.of("clusterinformations").watch.Modify(information)
		pass(0)
		w.Expect(w.Read().Problem).To(Equal(datastoreLocked))
		changes = w.changes.Load()
		information = information.DeepCopy()
		information.ResourceVersion, information.Spec.CalicoVersion = "5", "v3.32.1"
		w.of("clusterinformations").watch.Modify(information)
		pass(0)
		w.Expect(w.changes.Load()).To(Equal(changes), "other fields are not read")
	})
}

// TestMigrationGone: without the API of migrations there are no migrations.
func TestMigrationGone(t *testing.T) {
	migrations := service("v1."+migrationGroup, func(u *unstructured.Unstructured) {
		u.Object["spec"] = map[string]any{"group": migrationGroup, "version": "v1"}
	})
	bubble(t, func(s *server) {
		s.of("apiservices").objects = append(s.of("apiservices").objects, migrations)
		s.of("datastoremigrations").objects = []runtime.Object{&unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": "m", "resourceVersion": "1"}, "status": map[string]any{"phase": "Migrating"},
		}}}
	}, func(w *world) {
		w.Expect(w.Read().Problem).To(ContainSubstring("DatastoreMigration m is in phase Migrating"))
		w.Expect(w.Read().Tiers).To(HaveLen(2), "other kinds can be read meanwhile")
		w.of("apiservices").watch.Delete(migrations)
		pass(0)
		w.Expect(w.Read().Problem).To(BeEmpty())
		w.Expect(w.of("datastoremigrations").watch.IsStopped()).To(BeTrue())
	})
}
