// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// sector is the unit of a database's size, of every page size; what etcd appends is
// smaller.
const sector = 512

// Content is what a verified snapshot has.
type Content struct {
	// Size is the size of the file, in bytes.
	Size int64
	// SHA256 is the hash of the file, as sha256sum prints it.
	SHA256 string
	// Revision is the revision that etcd has after a restore.
	Revision int64
	// Keys is the number of keys at the revision.
	Keys int
}

// VerifyFile verifies a snapshot: the hash that etcd appended, and the structure and every
// key of the database. VerifyFile reads the file twice.
func VerifyFile(ctx context.Context, path string) (Content, error) {
	content, err := verifyFile(ctx, path)
	if err != nil {
		return Content{}, fmt.Errorf("%s is not a good snapshot: %w", path, err)
	}
	return content, nil
}

func verifyFile(ctx context.Context, path string) (Content, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Content{}, errors.New("the file does not exist: check the path")
	}
	if err != nil {
		return Content{}, err
	}
	defer file.Close()
	content, err := verifyHash(ctx, file)
	if err != nil {
		return Content{}, err
	}
	content.Revision, content.Keys, err = verifyDatabase(ctx, file, content.Size-sha256.Size)
	return content, err
}

// verifyHash compares the hash at the end of the file with the hash of the rest.
func verifyHash(ctx context.Context, file *os.File) (Content, error) {
	info, err := file.Stat()
	if err != nil {
		return Content{}, err
	}
	if !info.Mode().IsRegular() {
		return Content{}, errors.New("it is not a file: check the path")
	}
	if info.Size() <= sha256.Size || info.Size()%sector != sha256.Size {
		return Content{}, fmt.Errorf("%d bytes are not a database with the hash that etcd appends: "+
			"the file is cut off, or is a copy of a data directory; take another snapshot", info.Size())
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, contextReader{ctx, file}, info.Size()-sha256.Size); err != nil {
		return Content{}, err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(file, want); err != nil {
		return Content{}, err
	}
	if got := hash.Sum(nil); !bytes.Equal(got, want) {
		return Content{}, fmt.Errorf("the content has the hash %x, and etcd sent %x: the file is damaged; take another snapshot", got, want)
	}
	hash.Write(want)
	return Content{Size: info.Size(), SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx    context.Context
	source io.Reader
}

// Read reads.
func (r contextReader) Read(block []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.source.Read(block)
}
