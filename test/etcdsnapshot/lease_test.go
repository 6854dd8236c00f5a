// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	namespace = "cpnp-etcd-snapshot"
	leaseName = "etcd-snapshot"
)

// installed applies the shipped manifests, and returns the configuration of the job's account.
func installed(t *testing.T, g *WithT) *rest.Config {
	t.Helper()
	out, err := cluster.Kubectl(t.Context(), "apply", "--server-side", "--kustomize", "../../config/etcd-snapshot").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	config := rest.CopyConfig(cluster.Config)
	config.Impersonate = testbed.Impersonate(namespace, "etcd-snapshot", "")
	return config
}

// The Lease is stamped with the time and the figures of a snapshot, by the account
// of the job, after the snapshot was verified. A failed run does not stamp it.
func TestLeaseIsStamped(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	config := installed(t, g)
	leases := coordination.NewForConfigOrDie(cluster.Config).Leases(namespace)
	taker, out := newTaker(backupFolder(t), "https://"+freeAddress())
	taker.Lease = namespace + "/" + leaseName
	taker.Cluster = func() (*rest.Config, error) { return config, nil }

	before, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = taker.Take(ctx)
	g.Expect(err).To(HaveOccurred())
	lease, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(lease.ResourceVersion).To(Equal(before.ResourceVersion), "no snapshot was taken")

	// A snapshot that fails verification is not stamped either.
	other, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer other.process.Stop()
	taker.Endpoints = newRelay(t, 1<<40, server, server, other, server).endpoint
	_, err = taker.Take(ctx)
	g.Expect(err).To(MatchError(ContainSubstring("was between")))
	lease, err = leases.Get(ctx, leaseName, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(lease.ResourceVersion).To(Equal(before.ResourceVersion), "no snapshot was verified")

	taker.Endpoints = server.endpoint
	s, err := taker.Take(ctx)
	g.Expect(err).NotTo(HaveOccurred(), out.String())
	lease, err = leases.Get(ctx, leaseName, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(lease.Spec.RenewTime.Time).To(BeTemporally("~", s.Taken, time.Microsecond))
	g.Expect(lease.Spec.HolderIdentity).To(HaveValue(Equal("cp-1")))
	g.Expect(lease.Annotations).To(And(
		HaveKeyWithValue(etcdsnapshot.AnnotationRevision, strconv.FormatInt(s.Revision, 10)),
		HaveKeyWithValue(etcdsnapshot.AnnotationKeys, strconv.Itoa(keys)),
		HaveKeyWithValue(etcdsnapshot.AnnotationSize, strconv.FormatInt(s.Size, 10)),
		HaveKeyWithValue(etcdsnapshot.AnnotationSHA256, s.SHA256),
		HaveKeyWithValue(etcdsnapshot.AnnotationFile, filepath.Base(s.Path)),
	))
	out2, err := cluster.Kubectl(ctx, "apply", "--server-side", "--kustomize", "../../config/etcd-snapshot").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out2))
	again, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again.Spec).To(Equal(lease.Spec), "another apply of the manifests keeps the stamp")
}

// A Lease that cannot be stamped is an error, and the snapshot stays.
func TestLeaseThatCannotBeStamped(t *testing.T) {
	g := gomega(t)
	config := installed(t, g)
	for name, test := range map[string]struct {
		lease, want string
		config      *rest.Config
	}{
		"a Lease that there is not": {namespace + "/other", "the Lease " + namespace + "/other does not exist", cluster.Config},
		"a Lease of others":         {"kube-system/kube-scheduler", "allow the verb patch", config},
		"no API server":             {namespace + "/" + leaseName, "stamping the Lease", &rest.Config{Host: "https://" + freeAddress()}},
	} {
		t.Run(name, func(t *testing.T) {
			g := gomega(t)
			taker, _ := newTaker(backupFolder(t), server.endpoint)
			taker.Lease, taker.Cluster = test.lease, func() (*rest.Config, error) { return test.config, nil }
			s, err := taker.Take(t.Context())
			g.Expect(err).To(MatchError(And(ContainSubstring("the snapshot is good, but"), ContainSubstring(test.want))))
			g.Expect(filesIn(g, taker.Dir)).To(ConsistOf(filepath.Base(s.Path)))
		})
	}
}

// The account of the job may stamp its Lease, and has no other right.
func TestAccountHasOnlyTheRightToItsLease(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	leases := coordination.NewForConfigOrDie(installed(t, g)).Leases(namespace)
	_, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	g.Expect(apierrors.IsForbidden(leases.Delete(ctx, leaseName, metav1.DeleteOptions{}))).To(BeTrue())
	_, err = leases.Patch(ctx, "other", "application/merge-patch+json", []byte("{}"), metav1.PatchOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
}
