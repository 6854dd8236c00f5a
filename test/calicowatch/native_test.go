// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	served "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// TestNative: the API as CRDs, and what can be amiss with it.
func TestNative(t *testing.T) {
	start(t, calico.Native)
	t.Run("objects", func(t *testing.T) {
		f := startFollower(t, 0)
		c := f.eventually(served.Native)
		NewWithT(t).Expect(names(c.Tiers)).To(Equal([]string{"default", "kube-admin", "kube-baseline"}))
		objects(t, f)
	})
	t.Run("quiet", quiet)
	t.Run("too large", func(t *testing.T) { tooLarge(t, served.Native) })
	t.Run("locked", lockedDatastore)
	t.Run("migration", migration)
	t.Run("forbidden", forbidden)
	t.Run("not installed whole", missingKind)
}

// quiet: when nothing happens to Calico, nothing is asked and nothing is told.
func quiet(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, soon)
	before := f.eventually(served.Native)
	mark := restMark(g)
	changes := f.changes.Load()

	other := apiService("v1.example.com", map[string]any{
		"group": "example.com", "version": "v1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
		"service": map[string]any{"namespace": "default", "name": "nothing"}, "insecureSkipTLSVerify": true,
	})
	g.Expect(admin.Create(t.Context(), other)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), other)).To(Succeed())
	pool := &before.Pools[0]
	g.Expect(admin.Patch(t.Context(), pool.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{}`)))).To(Succeed())

	g.Consistently(func(g Gomega) {
		g.Expect(f.changes.Load()).To(Equal(changes))
		events, err := cluster.Audit().Since(mark)
		g.Expect(err).NotTo(HaveOccurred())
		for _, event := range events {
			g.Expect(event).NotTo(HaveField("User", user))
		}
	}, soon+time.Second, 10*interval).Should(Succeed())
}

// restMark returns a mark of the audit log before which the follower has asked for nothing
// for some time: longer than a reflector pauses before it watches again, because new
// definitions end the watches of the API server's clients.
func restMark(g *WithT) testbed.Mark {
	mark, err := cluster.Audit().Mark()
	g.Expect(err).NotTo(HaveOccurred())
	since := time.Now()
	g.Eventually(func(g Gomega) {
		events, err := cluster.Audit().Since(mark)
		g.Expect(err).NotTo(HaveOccurred())
		if slices.ContainsFunc(events, func(event testbed.AuditEvent) bool { return event.User == user }) {
			mark, err = cluster.Audit().Mark()
			g.Expect(err).NotTo(HaveOccurred())
			since = time.Now()
		}
		g.Expect(time.Since(since)).To(BeNumerically(">", soon), "without a request")
	}, deadline, 10*interval).Should(Succeed())
	return mark
}

// lockedDatastore: nothing may be written while Calico says so, nor before it
// has been initialised.
func lockedDatastore(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, 0)
	f.eventually(served.Native)
	changes := f.changes.Load()

	information := &v3.ClusterInformation{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "default"}, information)).To(Succeed())
	information.Spec.DatastoreReady = ptr.To(false)
	g.Expect(admin.Update(t.Context(), information)).To(Succeed())
	c := f.eventually(served.Native, "datastoreReady is false", "the operator writes nothing")
	g.Expect(c.Tiers).NotTo(BeEmpty())
	g.Expect(f.changes.Load()).To(Equal(changes + 1))

	information.Spec.DatastoreReady = ptr.To(true)
	g.Expect(admin.Update(t.Context(), information)).To(Succeed())
	f.eventually(served.Native)
	g.Expect(f.changes.Load()).To(Equal(changes + 2))

	g.Expect(admin.Delete(t.Context(), information)).To(Succeed())
	f.eventually(served.Native, "not been initialised yet")
	information.ResourceVersion, information.UID = "", ""
	g.Expect(admin.Create(t.Context(), information)).To(Succeed())
	f.eventually(served.Native)
}

// migration: one that is not over is a problem. Its CRD comes while the
// follower runs, and goes.
func migration(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, 0)
	f.eventually(served.Native)
	installFrom(t, "testdata/datastoremigrations.yaml")
	f.eventually(served.Native)

	object := &unstructured.Unstructured{}
	object.SetAPIVersion("migration.projectcalico.org/v1beta1")
	object.SetKind("DatastoreMigration")
	object.SetName("v1-to-v3")
	g.Expect(admin.Create(t.Context(), object)).To(Succeed())
	f.eventually(served.Native, "DatastoreMigration v1-to-v3 has not started")
	for _, phase := range []string{"Migrating", "WaitingForConflictResolution", "Converged", "Failed"} {
		object.Object["status"] = map[string]any{"phase": phase, "message": "a reason"}
		g.Expect(admin.Status().Update(t.Context(), object)).To(Succeed())
		f.eventually(served.Native, "DatastoreMigration v1-to-v3 is in phase "+phase+" (a reason)")
	}
	object.Object["status"] = map[string]any{"phase": "Complete"}
	g.Expect(admin.Status().Update(t.Context(), object)).To(Succeed())
	f.eventually(served.Native)

	object.Object["status"] = map[string]any{"phase": "Migrating"}
	g.Expect(admin.Status().Update(t.Context(), object)).To(Succeed())
	f.eventually(served.Native, "is in phase Migrating")
	g.Expect(admin.Delete(t.Context(), crd("datastoremigrations.migration.projectcalico.org"))).To(Succeed())
	f.eventually(served.Native)
}

// forbidden: a kind that may not be read is named, with what to do; the others
// are read, and it is too once that is done.
func forbidden(t *testing.T) {
	g := NewWithT(t)
	grantBut(t, "ippools")
	t.Cleanup(func() { grantBut(t, "") })
	f := startFollower(t, soon)
	f.eventually(served.Native, "the operator is still reading the objects of Calico")
	c := f.eventually(served.Native, "IPPool cannot be read", "forbidden", `User "follower" cannot list resource "ippools"`,
		"grant the operator list and watch of ippools.projectcalico.org")
	g.Expect(c.Problem).NotTo(ContainSubstring("cannot be read either"), "the others are well")
	g.Expect(c.Tiers).NotTo(BeEmpty())
	g.Expect(c.Pools).To(BeEmpty())

	grantBut(t, "")
	c = f.eventually(served.Native)
	g.Expect(c.Pools).NotTo(BeEmpty())
}

// missingKind: a kind without a CRD is named until it has one.
func missingKind(t *testing.T) {
	g := NewWithT(t)
	sets := crd("globalnetworksets.projectcalico.org")
	g.Expect(admin.Get(t.Context(), client.ObjectKeyFromObject(sets), sets)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), sets.DeepCopy())).To(Succeed())
	f := startFollower(t, soon)
	f.eventually(served.Native, "GlobalNetworkSet cannot be read", "the server does not have globalnetworksets.projectcalico.org")
	install(t, calico.Native)
	f.eventually(served.Native)
}

// TestServicesForbidden: without the right to see how Calico is served, nothing
// is known, and that is said.
func TestServicesForbidden(t *testing.T) {
	grantBut(t, "apiservices")
	t.Cleanup(func() { grantBut(t, "") })
	f := startFollower(t, soon)
	f.eventually(served.Undetected, "APIService cannot be read", "grant the operator list and watch of apiservices.apiregistration.k8s.io")
	grantBut(t, "")
	f.eventually(served.Absent)
}

// grantBut gives the user all rights but those to one resource.
func grantBut(t *testing.T, resource string) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rules(resource)}
	NewWithT(t).Expect(admin.Update(context.Background(), role)).To(Succeed())
}
