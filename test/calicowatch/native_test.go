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

// TestNativeAPI tests the API as CRDs, and its possible problems.
func TestNativeAPI(t *testing.T) {
	startCalico(t, calico.Native)
	t.Run("objects", func(t *testing.T) {
		f := startFollower(t, 0)
		c := f.waitForMode(served.Native)
		NewWithT(t).Expect(namesOf(c.Tiers)).To(Equal([]string{"default", "kube-admin", "kube-baseline"}))
		followsObjects(t, f)
	})
	t.Run("quiet", staysQuiet)
	t.Run("too large", func(t *testing.T) { reportsTooLarge(t, served.Native) })
	t.Run("locked", reportsLockedDatastore)
	t.Run("migration", reportsMigration)
	t.Run("forbidden", namesForbiddenKind)
	t.Run("not installed whole", namesMissingKind)
}

// staysQuiet: without changes in Calico, the follower sends no requests and no
// notifications.
func staysQuiet(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, soon)
	before := f.waitForMode(served.Native)
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
	}, soon+time.Second, 4*interval).Should(Succeed())
}

// restMark returns a mark of the audit log with no request of the follower for some time
// before. This time is longer than the pause of a reflector before a new watch, because new
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
	}, deadline, 4*interval).Should(Succeed())
	return mark
}

// reportsLockedDatastore: no object may be written while Calico locks the datastore, nor
// before Calico's initialization.
func reportsLockedDatastore(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, 0)
	f.waitForMode(served.Native)
	changes := f.changes.Load()

	information := &v3.ClusterInformation{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "default"}, information)).To(Succeed())
	information.Spec.DatastoreReady = ptr.To(false)
	g.Expect(admin.Update(t.Context(), information)).To(Succeed())
	c := f.waitForMode(served.Native, "datastoreReady is false", "the operator writes nothing")
	g.Expect(c.Tiers).NotTo(BeEmpty())
	g.Expect(f.changes.Load()).To(Equal(changes + 1))

	information.Spec.DatastoreReady = ptr.To(true)
	g.Expect(admin.Update(t.Context(), information)).To(Succeed())
	f.waitForMode(served.Native)
	g.Expect(f.changes.Load()).To(Equal(changes + 2))

	g.Expect(admin.Delete(t.Context(), information)).To(Succeed())
	f.waitForMode(served.Native, "not been initialised yet")
	information.ResourceVersion, information.UID = "", ""
	g.Expect(admin.Create(t.Context(), information)).To(Succeed())
	f.waitForMode(served.Native)
}

// reportsMigration: an unfinished migration is a problem. The migration's CRD is installed
// and removed while the follower runs.
func reportsMigration(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, 0)
	f.waitForMode(served.Native)
	installFrom(t, "testdata/datastoremigrations.yaml")
	f.waitForMode(served.Native)

	object := &unstructured.Unstructured{}
	object.SetAPIVersion("migration.projectcalico.org/v1beta1")
	object.SetKind("DatastoreMigration")
	object.SetName("v1-to-v3")
	g.Expect(admin.Create(t.Context(), object)).To(Succeed())
	f.waitForMode(served.Native, "DatastoreMigration v1-to-v3 has not started")
	for _, phase := range []string{"Migrating", "WaitingForConflictResolution", "Converged", "Failed"} {
		object.Object["status"] = map[string]any{"phase": phase, "message": "a reason"}
		g.Expect(admin.Status().Update(t.Context(), object)).To(Succeed())
		f.waitForMode(served.Native, "DatastoreMigration v1-to-v3 is in phase "+phase+" (a reason)")
	}
	object.Object["status"] = map[string]any{"phase": "Complete"}
	g.Expect(admin.Status().Update(t.Context(), object)).To(Succeed())
	f.waitForMode(served.Native)

	object.Object["status"] = map[string]any{"phase": "Migrating"}
	g.Expect(admin.Status().Update(t.Context(), object)).To(Succeed())
	f.waitForMode(served.Native, "is in phase Migrating")
	g.Expect(admin.Delete(t.Context(), crdNamed("datastoremigrations.migration.projectcalico.org"))).To(Succeed())
	f.waitForMode(served.Native)
}

// namesForbiddenKind: a kind without the right to read is named, with the remedy. The other
// kinds are read, and so is this kind once the right is granted.
func namesForbiddenKind(t *testing.T) {
	g := NewWithT(t)
	grantWithout(t, "ippools")
	t.Cleanup(func() { grantWithout(t, "") })
	f := startFollower(t, soon)
	f.waitForMode(served.Native, "the operator is still reading the objects of Calico")
	c := f.waitForMode(served.Native, "IPPool cannot be read", "forbidden", `User "follower" cannot list resource "ippools"`,
		"grant the operator list and watch of ippools.projectcalico.org")
	g.Expect(c.Problem).NotTo(ContainSubstring("cannot be read either"), "the problem names other kinds too")
	g.Expect(c.Tiers).NotTo(BeEmpty())
	g.Expect(c.Pools).To(BeEmpty())

	grantWithout(t, "")
	c = f.waitForMode(served.Native)
	g.Expect(c.Pools).NotTo(BeEmpty())
}

// namesMissingKind: a kind without a CRD is named until the CRD exists.
func namesMissingKind(t *testing.T) {
	g := NewWithT(t)
	sets := crdNamed("globalnetworksets.projectcalico.org")
	g.Expect(admin.Get(t.Context(), client.ObjectKeyFromObject(sets), sets)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), sets.DeepCopy())).To(Succeed())
	f := startFollower(t, soon)
	f.waitForMode(served.Native, "GlobalNetworkSet cannot be read", "the server does not have globalnetworksets.projectcalico.org")
	installCRDs(t, calico.Native)
	f.waitForMode(served.Native)
}

// TestForbiddenServicesAreReported: without the right to see how Calico is served, the mode
// is unknown, and the problem tells so.
func TestForbiddenServicesAreReported(t *testing.T) {
	grantWithout(t, "apiservices")
	t.Cleanup(func() { grantWithout(t, "") })
	f := startFollower(t, soon)
	f.waitForMode(served.Undetected, "APIService cannot be read", "grant the operator list and watch of apiservices.apiregistration.k8s.io")
	grantWithout(t, "")
	f.waitForMode(served.Absent)
}

// grantWithout grants the user all rights except to one resource.
func grantWithout(t *testing.T, resource string) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: rulesWithout(resource)}
	NewWithT(t).Expect(admin.Update(context.Background(), role)).To(Succeed())
}
