// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	tempPrefix = "cpnp-testbed-"
	tempLock   = "lock"

	// memoryDir is a file system in memory on Linux, where etcd does not wait for a disk. A
	// default container has not enough room there: etcd alone reserves 64 MiB for its log.
	memoryDir     = "/dev/shm"
	memoryDirRoom = 1 << 30

	// staleAfter gives another process time to lock its new folder.
	staleAfter = time.Minute
)

// tempDir is a folder whose owner keeps a lock. By a missing lock, the next start
// recognizes the folder of a killed process.
type tempDir struct {
	path string
	lock *os.File
}

func newTempDir() (*tempDir, error) {
	base := tempBase()
	removeStale(base)
	path, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-*", tempPrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(filepath.Join(path, tempLock))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return &tempDir{path: path, lock: lock}, nil
}

func (d *tempDir) removeDir() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}

func tempBase() string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memoryDir, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < memoryDirRoom {
		return os.TempDir()
	}
	probe, err := os.CreateTemp(memoryDir, "cpnp-probe-*")
	if err != nil {
		return os.TempDir()
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return os.TempDir()
	}
	return memoryDir
}

// removeStale removes the folders of processes that ended without Stop. A folder stays for
// the next start if the removal fails.
func removeStale(base string) {
	folders, _ := filepath.Glob(filepath.Join(base, tempPrefix+"*"))
	for _, folder := range folders {
		info, err := os.Stat(folder)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		if lock, err := lockFile(filepath.Join(folder, tempLock)); err == nil {
			_ = os.RemoveAll(folder)
			_ = lock.Close()
		}
	}
}

// lockFile fails when another process holds the lock. The lock ends with the process,
// because started programs do not inherit the file.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), file.Close())
	}
	return file, nil
}
