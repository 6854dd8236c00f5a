// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// othersMode are the rights of everybody.
const othersMode = 0o007

// folder is the folder for snapshots. A lock lets only one process at a time open and write
// the folder.
type folder struct {
	path string
	file *os.File
}

// openFolder opens and locks the folder. The lock ends with the process, however the
// process ends.
func openFolder(path string) (*folder, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the folder %s does not exist: create it with install -d -m 0700 %s, or set --dir", path, path)
	case err != nil:
		return nil, fmt.Errorf("reading the folder for snapshots: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a folder: set --dir to a folder", path)
	case info.Mode().Perm()&othersMode != 0:
		return nil, fmt.Errorf("everybody may use the folder %s (mode %04o), and a snapshot has all secrets of the cluster: "+
			"run chmod o-rwx %s, better chmod 0700", path, info.Mode().Perm(), path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the folder for snapshots: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another run writes to the folder %s: wait for its end, or set another --dir", path)
		}
		return nil, fmt.Errorf("locking the folder %s: %w: use a file system that has locks", path, err)
	}
	return &folder{path: path, file: file}, nil
}

func (f *folder) close() error { return f.file.Close() }

func (f *folder) join(name string) string { return filepath.Join(f.path, name) }

// sync makes the names in the folder outlast a crash.
func (f *folder) sync() error {
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("writing the folder %s to disk: %w", f.path, err)
	}
	return nil
}

// removePartials removes what interrupted runs left.
func (f *folder) removePartials(out io.Writer) error {
	names, err := f.listFiles()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !partialName.MatchString(name) {
			continue
		}
		if err := os.Remove(f.join(name)); err != nil {
			return fmt.Errorf("removing what an interrupted run left: %w", err)
		}
		fmt.Fprintf(out, "Removed %s, which an interrupted run left\n", name)
	}
	return nil
}

func (f *folder) listSnapshots() ([]storedSnapshot, error) {
	names, err := f.listFiles()
	if err != nil {
		return nil, err
	}
	var stored []storedSnapshot
	for _, name := range names {
		if s, ok := parseName(name); ok {
			stored = append(stored, s)
		}
	}
	return stored, nil
}

// listFiles returns the names of regular files.
func (f *folder) listFiles() ([]string, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, fmt.Errorf("reading the folder for snapshots: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// requireSpace returns an error if there is less room in the folder than a database needs.
// Where the room is not known, writing shows it.
func (f *folder) requireSpace(bytes int64) error {
	var stat syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.file.Fd()), &stat); err != nil {
		return nil
	}
	free := int64(stat.Bavail) * int64(stat.Bsize) //nolint:unconvert // the types differ between platforms
	if free < bytes {
		return fmt.Errorf("the database of etcd has %s, and the folder %s has room for %s: "+
			"remove older snapshots by hand and then lower --keep-count, enlarge the disk, or set another --dir",
			formatBytes(bytes), f.path, formatBytes(free))
	}
	return nil
}
