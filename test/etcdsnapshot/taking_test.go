// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
)

// output is the output of a run, for several goroutines.
type output struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

// Write writes.
func (o *output) Write(text []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.Write(text)
}

// String returns everything until now.
func (o *output) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.String()
}

// gomega returns an environment of a test that fails at the deadline.
func gomega(t *testing.T) *WithT {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(deadline)
	g.SetDefaultEventuallyPollingInterval(tick)
	return g
}

// backupFolder returns a new folder that only its owner may read.
func backupFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	NewWithT(t).Expect(os.Mkdir(dir, 0o700)).To(Succeed())
	return dir
}

// newTaker returns a taker of snapshots of an endpoint, with the certificates of the shared
// authority.
func newTaker(dir, endpoint string) (*etcdsnapshot.Taker, *output) {
	out := &output{}
	return &etcdsnapshot.Taker{
		Options: etcdsnapshot.Options{
			Endpoints: endpoint, CACert: authority.file("ca.crt"), Cert: authority.file("client.crt"), Key: authority.file("client.key"),
			Dir: dir, Timeout: deadline, KeepCount: 3, NodeName: "cp-1",
		},
		Out:     out,
		Cluster: func() (*rest.Config, error) { return nil, fmt.Errorf("nobody may ask for the cluster here") },
	}, out
}

// filesIn returns the names of all files in a folder.
func filesIn(g *WithT, dir string) []string {
	entries, err := os.ReadDir(dir)
	g.Expect(err).NotTo(HaveOccurred())
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// etcdutl runs etcdutl of etcd.
func etcdutl(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	arguments = append([]string{"tool", "-modfile=" + filepath.Join("..", "..", "hack", "etcdutl", "go.mod"), "etcdutl"}, arguments...)
	out, err := exec.CommandContext(t.Context(), "go", arguments...).CombinedOutput()
	return string(out), err
}

// A snapshot is verified, agrees with etcdutl's figures, and is all that a fresh etcd needs.
func TestSnapshotIsTakenVerifiedAndRestored(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	source, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer source.process.Stop()
	g.Expect(source.fill(50, 4096)).To(Succeed())
	_, err = source.client.Delete(ctx, "/registry/0007")
	g.Expect(err).NotTo(HaveOccurred())

	dir := backupFolder(t)
	taker, out := newTaker(dir, source.endpoint)
	before := time.Now()
	s, err := taker.Take(ctx)
	g.Expect(err).NotTo(HaveOccurred(), out.String())
	g.Expect(filesIn(g, dir)).To(ConsistOf(filepath.Base(s.Path)))
	status, err := source.client.Status(ctx, source.endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(filepath.Base(s.Path)).To(MatchRegexp(`^etcd-snapshot-\d{8}T\d{6}Z-%x-r52\.db$`, status.Header.ClusterId))
	g.Expect(s.Taken).To(BeTemporally("~", before, deadline))
	g.Expect(s.Revision).To(Equal(int64(52)), "1 at the start, 50 keys, a deletion")
	g.Expect(s.Keys).To(Equal(49))
	info, err := os.Stat(s.Path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
	g.Expect(info.Size()).To(Equal(s.Size))
	g.Expect(out.String()).To(ContainSubstring("revision 52, 49 keys, sha256 " + s.SHA256))
	sum, err := exec.CommandContext(ctx, "sha256sum", s.Path).Output()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(sum)).To(HavePrefix(s.SHA256))

	text, err := etcdutl(t, "snapshot", "status", s.Path, "--write-out=json")
	g.Expect(err).NotTo(HaveOccurred(), text)
	var told struct{ Revision, TotalKey, TotalSize int64 }
	_, object, _ := strings.Cut(text, "{") // after the lines of etcdutl's log
	g.Expect(json.Unmarshal([]byte("{"+object), &told)).To(Succeed(), text)
	g.Expect(told.Revision).To(Equal(s.Revision))
	g.Expect(told.TotalKey).To(Equal(int64(s.Keys)))
	g.Expect(told.TotalSize).To(Equal(s.Size-32), "without the hash")

	t.Run("restored", func(t *testing.T) { expectRestored(t, s, s.Revision) })
	t.Run("restored with a jump", func(t *testing.T) {
		expectRestored(t, s, s.Revision+1_000_000_000, "--bump-revision=1000000000", "--mark-compacted")
	})
}

// expectRestored restores the snapshot of the test above into a fresh etcd, following the documentation.
func expectRestored(t *testing.T, s etcdsnapshot.Snapshot, revision int64, arguments ...string) {
	t.Helper()
	g, ctx := gomega(t), t.Context()
	restored, peer := filepath.Join(t.TempDir(), "restored"), freeAddress()
	text, err := etcdutl(t, append([]string{
		"snapshot", "restore", s.Path, "--data-dir=" + restored,
		"--initial-cluster=default=http://" + peer, "--initial-advertise-peer-urls=http://" + peer,
	}, arguments...)...)
	g.Expect(err).NotTo(HaveOccurred(), text)
	fresh, err := startEtcdOn(restored, authority, "server", freeAddress(), peer)
	g.Expect(err).NotTo(HaveOccurred())
	defer fresh.process.Stop()
	answer, err := fresh.client.Get(ctx, "/registry/0049")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(answer.Header.Revision).To(Equal(revision))
	g.Expect(answer.Kvs).To(HaveLen(1))
	g.Expect(answer.Kvs[0].Value).To(Equal(bytes.Repeat([]byte{49, 0, 'x', 'y'}, 1024)))
	answer, err = fresh.client.Get(ctx, "/registry/0007")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(answer.Kvs).To(BeEmpty(), "deleted before the snapshot")
}

// A new etcd has a revision, and no keys.
func TestSnapshotOfANewEtcd(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	source, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer source.process.Stop()
	taker, out := newTaker(backupFolder(t), source.endpoint)
	s, err := taker.Take(ctx)
	g.Expect(err).NotTo(HaveOccurred(), out.String())
	g.Expect(s.Revision).To(BeEquivalentTo(1))
	g.Expect(s.Keys).To(BeZero())
}

// The last write is a deletion, and everything before it was compacted.
func TestRevisionAfterACompactedDeletion(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	source, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer source.process.Stop()
	g.Expect(source.fill(5, 16)).To(Succeed())
	deleted, err := source.client.Delete(ctx, "/registry/0004")
	g.Expect(err).NotTo(HaveOccurred())
	_, err = source.client.Compact(ctx, deleted.Header.Revision, clientv3.WithCompactPhysical())
	g.Expect(err).NotTo(HaveOccurred())

	taker, out := newTaker(backupFolder(t), source.endpoint)
	s, err := taker.Take(ctx)
	g.Expect(err).NotTo(HaveOccurred(), out.String())
	g.Expect(s.Revision).To(Equal(deleted.Header.Revision))
	g.Expect(s.Keys).To(Equal(4))
}

// The next run removes snapshots beyond the count, and no other files.
func TestOlderSnapshotsArePruned(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	dir := backupFolder(t)
	taker, _ := newTaker(dir, server.endpoint)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	foreign := []string{"etcd-snapshot-notes.db", "snapshot.db", "etcd-snapshot-20200101T000000Z-1f-r1.db.old", "etcd-snapshot-20200101T000000Z-1f-r1.db"}
	for _, name := range foreign {
		g.Expect(os.WriteFile(filepath.Join(dir, name), nil, 0o600)).To(Succeed())
	}
	var taken []string
	for hour := range 5 {
		taker.Now = func() time.Time { return begin.Add(time.Duration(hour) * time.Hour) }
		s, err := taker.Take(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		taken = append(taken, filepath.Base(s.Path))
	}
	g.Expect(filesIn(g, dir)).To(ConsistOf(append(foreign, taken[2:]...)))

	// A failed run removes no snapshots.
	other, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer other.process.Stop()
	taker.KeepCount, taker.KeepAge = 1, time.Second
	for _, failing := range []string{"https://" + freeAddress(), newRelay(t, 1<<40, server, server, other, server).endpoint} {
		taker.Endpoints = failing
		_, err := taker.Take(ctx)
		g.Expect(err).To(HaveOccurred())
		g.Expect(filesIn(g, dir)).To(ConsistOf(append(foreign, taken[2:]...)))
	}
}

// Of several endpoints, the first that answers is used.
func TestTheNextEndpointIsTried(t *testing.T) {
	g := gomega(t)
	taker, _ := newTaker(backupFolder(t), "https://"+freeAddress()+", "+server.endpoint)
	s, err := taker.Take(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect("https://" + s.Member).To(Equal(server.endpoint))
}

// A snapshot that does not match the member's own status is refused: here the
// connections of one endpoint lead to different servers, as behind a load balancer.
func TestSnapshotOfAnotherStateIsRefused(t *testing.T) {
	g := gomega(t)
	ahead, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer ahead.process.Stop()
	g.Expect(ahead.fill(2*keys, 16)).To(Succeed())
	for name, members := range map[string]struct{ status, snapshot *etcd }{
		"behind": {status: ahead, snapshot: server}, "ahead": {status: server, snapshot: ahead},
	} {
		t.Run(name, func(t *testing.T) {
			g := gomega(t)
			dir := backupFolder(t)
			// The first request, the status before, the snapshot, and the status after.
			r := newRelay(t, 1<<40, members.status, members.status, members.snapshot, members.status)
			taker, _ := newTaker(dir, r.endpoint)
			_, err := taker.Take(t.Context())
			g.Expect(err).To(MatchError(And(ContainSubstring("was between"), ContainSubstring("take another snapshot"))))
			g.Expect(filesIn(g, dir)).To(BeEmpty())
		})
	}
}
