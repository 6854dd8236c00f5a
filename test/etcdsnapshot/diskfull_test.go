// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// smallDisk returns a folder on a file system of its own, in memory, visible only to
// this process. The file system disappears with the process, however the process ends.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	type opened struct {
		file *os.File
		err  error
	}
	result := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with its namespace
		file, err := mountSmallDisk(dir, size)
		result <- opened{file, err}
	}()
	disk := <-result
	network.Need(t, disk.err)
	t.Cleanup(func() { _ = disk.file.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", disk.file.Fd()) // works in every thread
}

func mountSmallDisk(dir string, size int64) (*os.File, error) {
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("no mount namespace: %w", err)
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("no private mounts: %w", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return nil, fmt.Errorf("no tmpfs: %w", err)
	}
	return os.Open(dir)
}

// No snapshot is written to a disk with less room than etcd's database needs.
func TestTooSmallDiskIsNotWrittenTo(t *testing.T) {
	g := gomega(t)
	dir := smallDisk(t, half)
	taker, _ := newTaker(dir, server.endpoint)
	_, err := taker.Take(t.Context())
	g.Expect(err).To(MatchError(And(ContainSubstring("has room for"), ContainSubstring("remove older snapshots by hand"))))
	g.Expect(filesIn(g, dir)).To(BeEmpty())
}

// A disk that becomes full during a snapshot is an error, which leaves the older snapshot and no part of the new one.
func TestDiskThatBecomesFull(t *testing.T) {
	g := gomega(t)
	status, err := server.client.Status(t.Context(), server.endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	dir := smallDisk(t, status.DbSize*5/2)
	taker, _ := newTaker(dir, server.endpoint)
	taker.KeepCount = 1
	older, err := taker.Take(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	kept := fmt.Sprintf("etcd-snapshot-20200101T000000Z-%x-r1.db", older.Cluster)
	g.Expect(os.Rename(older.Path, filepath.Join(dir, kept))).To(Succeed())

	// Only one of the two names is a snapshot; the other is hidden from takeInBackground.
	r := newRelay(t, half, server)
	taker.Endpoints = r.endpoint
	ended := make(chan result, 1)
	go func() {
		s, err := taker.Take(t.Context())
		ended <- result{s, err}
	}()
	g.Eventually(r.reached).Should(BeClosed())
	g.Eventually(func() []string { return filesIn(g, dir) }).Should(HaveLen(2))
	fillDisk(g, filepath.Join(dir, "filler"))
	r.release()
	var got result
	g.Eventually(ended).Should(Receive(&got))
	g.Expect(errors.Is(got.err, syscall.ENOSPC)).To(BeTrue(), "%v", got.err)
	g.Expect(got.err).To(MatchError(ContainSubstring("is full: remove older snapshots by hand")))
	g.Expect(filesIn(g, dir)).To(ConsistOf(kept, "filler"), "the older snapshot is kept")
}

// fillDisk writes until the disk is full.
func fillDisk(g *WithT, path string) {
	file, err := os.Create(path)
	g.Expect(err).NotTo(HaveOccurred())
	defer file.Close()
	block := make([]byte, 64<<10)
	for range 10_000 {
		if _, err := file.Write(block); err != nil {
			g.Expect(errors.Is(err, syscall.ENOSPC)).To(BeTrue(), "%v", err)
			return
		}
	}
	g.Expect("the disk").To(Equal("full"))
}
