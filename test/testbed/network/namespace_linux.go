// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// namespace is a network namespace without a name: the namespace exists because a thread is
// inside, and ends with the thread even when the process is killed. Files and programs
// started or opened by the thread are in the namespace too.
type namespace struct {
	path  string // a name of the namespace for programs
	calls chan func()
	gone  chan struct{}
}

func newNamespace() (*namespace, error) {
	n := &namespace{calls: make(chan func()), gone: make(chan struct{})}
	entered := make(chan error, 1)
	go n.liveInside(entered)
	if err := <-entered; err != nil {
		return nil, err
	}
	return n, nil
}

// liveInside runs the thread of the namespace, and returns with the thread locked, so that
// Go ends the thread instead of running other goroutines in the wrong network.
func (n *namespace) liveInside(entered chan<- error) {
	runtime.LockOSThread()
	if syscall.Gettid() == syscall.Getpid() {
		// Go does not end the main thread. While the present goroutine holds the main
		// thread, the next goroutine that locks a thread gets another thread.
		onward := make(chan error, 1)
		go n.liveInside(onward)
		entered <- <-onward
		runtime.UnlockOSThread()
		return
	}
	defer close(n.gone)
	n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), syscall.Gettid())
	err := enterNamespace()
	entered <- err
	if err != nil {
		return
	}
	for call := range n.calls {
		call()
	}
}

// enterNamespace also gives the thread separate mounts: /run is empty, so daemons on
// several machines do not share locks and sockets. Other writes to the file system fail
// instead of leaving files.
func enterNamespace() error {
	if err := syscall.Unshare(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("new network and mount namespace: %w", err)
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return errors.Join(
		mountReadOnly("/"),
		mountReadOnly("/var/lib"), // possibly another file system
		os.MkdirAll("/run/lock", 0o755),
		// All users may ping, without a raw socket.
		os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0),
	)
}

// mountReadOnly makes the file system at dir read-only in the namespace. Other flags of a
// mount stay, because some users may not drop these.
func mountReadOnly(dir string) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return err
	}
	if dir != "/" {
		if err := syscall.Mount(dir, dir, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", dir, err)
		}
	}
	kept := uintptr(fs.Flags) & (syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
	err := syscall.Mount("none", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY|kept, "")
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", dir, err)
	}
	return nil
}

// do makes the thread call f. There is one call at a time, so f should not wait long.
func (n *namespace) do(f func() error) error {
	result := make(chan error, 1)
	n.calls <- func() { result <- f() }
	return <-result
}

// start starts a program, which the kernel kills when the thread ends.
func (n *namespace) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.do(cmd.Start)
}

// close ends the thread; no call may follow. The kernel removes the namespace once its
// programs are gone too.
func (n *namespace) close() {
	close(n.calls)
	<-n.gone
}
