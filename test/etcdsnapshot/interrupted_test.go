// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// half is about half of a snapshot of the shared server.
const half = keys * valueSize / 2

// result is the outcome of a run.
type result struct {
	snapshot etcdsnapshot.Snapshot
	err      error
}

// takeInBackground takes a snapshot, and returns when the run is half-way.
func takeInBackground(ctx context.Context, g *WithT, taker *etcdsnapshot.Taker, halfway <-chan struct{}) <-chan result {
	ended := make(chan result, 1)
	go func() {
		s, err := taker.Take(ctx)
		ended <- result{s, err}
	}()
	g.Eventually(halfway).Should(BeClosed())
	g.Eventually(func() []string { return filesIn(g, taker.Dir) }).Should(HaveLen(1))
	g.Expect(filesIn(g, taker.Dir)).To(ConsistOf(MatchRegexp(`^\.etcd-snapshot-\d+\.partial$`)), "not the name of a snapshot")
	return ended
}

// A run that is cancelled half-way leaves no file.
func TestCancelledRunLeavesNothing(t *testing.T) {
	g := gomega(t)
	r := newRelay(t, half, server)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	taker, _ := newTaker(backupFolder(t), r.endpoint)
	ended := takeInBackground(ctx, g, taker, r.reached)
	cancel()
	var got result
	g.Eventually(ended).Should(Receive(&got))
	g.Expect(got.err).To(MatchError(And(ContainSubstring("the run was interrupted"), ContainSubstring("not complete"))))
	g.Expect(got.snapshot.Path).To(BeEmpty())
	g.Expect(filesIn(g, taker.Dir)).To(BeEmpty())
}

// A server that is killed half-way is an error, and leaves no file.
func TestKilledServerIsAnError(t *testing.T) {
	g := gomega(t)
	dying, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dying.fill(keys, valueSize)).To(Succeed())
	r := newRelay(t, half, dying)
	taker, _ := newTaker(backupFolder(t), r.endpoint)
	ended := takeInBackground(t.Context(), g, taker, r.reached)
	g.Expect(syscall.Kill(dying.process.PID(), syscall.SIGKILL)).To(Succeed())
	g.Eventually(dying.process.Done()).Should(BeClosed())
	r.release()
	var got result
	g.Eventually(ended).Should(Receive(&got))
	g.Expect(got.err).To(MatchError(ContainSubstring("the snapshot is not complete")))
	g.Expect(filesIn(g, taker.Dir)).To(BeEmpty())
}

// A second run does not remove the file of a run that still writes to the folder.
func TestASecondRunKeepsTheFileOfTheFirst(t *testing.T) {
	g := gomega(t)
	r := newRelay(t, half, server)
	taker, _ := newTaker(backupFolder(t), r.endpoint)
	ended := takeInBackground(t.Context(), g, taker, r.reached)
	second, _ := newTaker(taker.Dir, server.endpoint)
	_, err := second.Take(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("another run writes to the folder")))
	r.release()
	var got result
	g.Eventually(ended).Should(Receive(&got))
	g.Expect(got.err).NotTo(HaveOccurred())
	g.Expect(filesIn(g, taker.Dir)).To(ConsistOf(filepath.Base(got.snapshot.Path)))
}

// command returns the program as a process of its own.
func command(create func(string, ...string) *exec.Cmd, dir, endpoint string) *exec.Cmd {
	program := create(os.Args[0], "--endpoints="+endpoint, "--cacert="+authority.file("ca.crt"),
		"--cert="+authority.file("client.crt"), "--key="+authority.file("client.key"), "--dir="+dir)
	program.Env = append(os.Environ(), commandVariable+"=yes")
	return program
}

// Root without any capability, as in the job, can read the files of root and write to a folder of root.
func TestRootWithoutCapabilities(t *testing.T) {
	g, dir := gomega(t), backupFolder(t)
	setpriv, err := exec.LookPath("setpriv")
	if err == nil && os.Geteuid() != 0 {
		err = errors.New("this user is not root")
	}
	network.Need(t, err)
	out, err := command(func(name string, arguments ...string) *exec.Cmd {
		confined := append([]string{"--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", name}, arguments...)
		return exec.CommandContext(t.Context(), setpriv, confined...)
	}, dir, server.endpoint).CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	g.Expect(string(out)).To(ContainSubstring("Verified " + dir))
	g.Expect(filesIn(g, dir)).To(HaveLen(1))
}

// A killed process leaves a partial file, which no run counts as a snapshot, and which
// the next run removes. After SIGTERM the process removes the partial file itself.
func TestKilledProcess(t *testing.T) {
	for name, test := range map[string]struct {
		signal syscall.Signal
		left   int
	}{"SIGKILL": {syscall.SIGKILL, 1}, "SIGTERM": {syscall.SIGTERM, 0}} {
		t.Run(name, func(t *testing.T) {
			g, dir := gomega(t), backupFolder(t)
			r := newRelay(t, half, server)
			program := command(exec.Command, dir, r.endpoint)
			process, err := cluster.StartProcess("snapshot-"+name, program, nil)
			g.Expect(err).NotTo(HaveOccurred())
			g.Eventually(r.reached).Should(BeClosed())
			g.Eventually(func() []string { return filesIn(g, dir) }).Should(HaveLen(1))
			g.Expect(syscall.Kill(process.PID(), test.signal)).To(Succeed())
			g.Eventually(process.Done()).Should(BeClosed())
			g.Expect(process.ExitCode()).NotTo(BeZero())
			g.Expect(filesIn(g, dir)).To(HaveLen(test.left))

			taker, out := newTaker(dir, server.endpoint)
			s, err := taker.Take(t.Context())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(filesIn(g, dir)).To(ConsistOf(filepath.Base(s.Path)))
			if test.left > 0 {
				g.Expect(out.String()).To(ContainSubstring("which an interrupted run left"))
			}
		})
	}
}

// The progress of a long snapshot is shown, even while no data arrives.
func TestProgressIsShown(t *testing.T) {
	g := gomega(t)
	r := newRelay(t, half, server)
	taker, out := newTaker(backupFolder(t), r.endpoint)
	taker.ProgressInterval = tick
	ended := takeInBackground(t.Context(), g, taker, r.reached)
	g.Eventually(out.String).Should(MatchRegexp(`(?m)^[1-9][0-9.]* MiB of [0-9.]+ MiB written \([1-9][0-9]?%\), 0 B/s$`))
	r.release()
	var got result
	g.Eventually(ended).Should(Receive(&got))
	g.Expect(got.err).NotTo(HaveOccurred())
}
