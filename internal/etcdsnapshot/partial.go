// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// writePartial writes a stream to a new file of the folder, to disk, and returns the path.
// Only the owner can read the file. After an error there is no file.
func (f *folder) writePartial(source io.Reader, count io.Writer) (path string, err error) {
	file, err := os.CreateTemp(f.path, partialPattern) // mode 0600
	if err != nil {
		return "", explainWrite(f.path, err)
	}
	_, err = io.Copy(io.MultiWriter(file, count), source)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(explainWrite(f.path, err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// publish gives a verified file the name of a snapshot. Readers so see only whole files.
func (f *folder) publish(partial, name string) (path string, err error) {
	path = f.join(name)
	if err := os.Rename(partial, path); err != nil {
		return "", fmt.Errorf("naming the snapshot: %w", err)
	}
	return path, f.sync()
}

// explainWrite says what to do about an error of the disk. Other errors are of etcd.
func explainWrite(folder string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk of the folder %s is full: remove older snapshots by hand and then lower --keep-count, "+
			"enlarge the disk, or set another --dir: %w", folder, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the folder %s is read-only: mount it writable, or set another --dir: %w", folder, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("user %d may not write to the folder %s: run as its owner, or set another --dir: %w", os.Geteuid(), folder, err)
	default:
		return fmt.Errorf("the snapshot is not complete: %w", err)
	}
}
