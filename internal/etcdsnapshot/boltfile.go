// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The layout of a bbolt file, as in go.etcd.io/bbolt/internal/common. Numbers have the byte
// order of the machine. bbolt itself maps the file into memory and follows every number in
// it: a damaged page can end the program. A boltFile checks each number before it is followed.
const (
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	// metaLength counts the bytes between the header of a meta page and the checksum.
	metaLength   = 56
	checksumSize = 8
	// minPageSize and maxPageSize limit the page size, in bytes. bbolt takes that of the machine.
	minPageSize, maxPageSize = 1 << 10, 1 << 25
	// firstPage is the first page after the two meta pages.
	firstPage = 2
	// noFreelist is the place of the list of free pages if the list is not in the file.
	noFreelist = 1<<64 - 1
	// maxDepth is the depth of a tree which no database has: a page has two children or more.
	maxDepth = 64
)

// boltFile reads a bbolt database.
type boltFile struct {
	source   io.ReaderAt
	pageSize int64
	// root is the page of the list of buckets, freelist of the list of free pages; pages is
	// the number of pages.
	root, freelist, pages uint64
	version               uint64 // the number of the last transaction
	used                  []bool // by page, while the pages are walked
}

// openBolt reads the two meta pages. The newer one counts, and etcd sends both.
func openBolt(source io.ReaderAt) (*boltFile, error) {
	first, err := readMeta(source, 0, 0)
	if err != nil {
		return nil, err
	}
	second, err := readMeta(source, 1, first.pageSize)
	if err != nil {
		return nil, err
	}
	if second.version > first.version {
		return second, nil
	}
	return first, nil
}

// readMeta reads the meta page with a number.
func readMeta(source io.ReaderAt, id uint64, offset int64) (*boltFile, error) {
	content := make([]byte, headerSize+metaLength+checksumSize)
	if _, err := source.ReadAt(content, offset); err != nil {
		return nil, fmt.Errorf("meta page %d: %w", id, err)
	}
	number, meta := binary.NativeEndian, content[headerSize:]
	f := &boltFile{
		source: source, pageSize: int64(number.Uint32(meta[8:])), root: number.Uint64(meta[16:]),
		freelist: number.Uint64(meta[32:]), pages: number.Uint64(meta[40:]), version: number.Uint64(meta[48:]),
	}
	sum := fnv.New64a()
	sum.Write(meta[:metaLength])
	switch {
	case numberOf(content) != id, kindOf(content) != metaPage,
		number.Uint32(meta) != metaMagic, number.Uint32(meta[4:]) != metaVersion, number.Uint64(meta[metaLength:]) != sum.Sum64(),
		f.pageSize < minPageSize, f.pageSize > maxPageSize, id > 0 && offset != f.pageSize:
		return nil, fmt.Errorf("meta page %d is not valid", id)
	}
	return f, nil
}

// size returns the size of the database in bytes; negative if it is larger than any file.
func (f *boltFile) size() int64 {
	if f.pages > uint64(1<<62)/uint64(f.pageSize) { //nolint:gosec // between minPageSize and maxPageSize
		return -1
	}
	return int64(f.pages) * f.pageSize //nolint:gosec // checked above
}

// visit receives a key and its value.
type visit func(key, value []byte) error

// walk calls open with the name of each bucket, and what open returns with each key of the
// bucket, in their order, after the pages on the way are checked. The file must have the size
// of the database.
func (f *boltFile) walk(ctx context.Context, open func(bucket []byte) visit) error {
	f.used = make([]bool, f.pages)
	err := f.walkTree(ctx, subtree{page: f.root}, func(found element) error {
		if !found.bucket {
			return fmt.Errorf("%q is not in a bucket", found.key)
		}
		add := open(found.key)
		return f.walkBucket(ctx, found.value, func(e element) error {
			if e.bucket {
				return fmt.Errorf("bucket %q has a bucket, which etcd never writes", found.key)
			}
			return add(e.key, e.value)
		})
	})
	if err != nil {
		return err
	}
	return f.checkFree()
}

// walkBucket walks a bucket, whose value has the number of its first page. The page of a
// small bucket follows in the value, and has no number.
func (f *boltFile) walkBucket(ctx context.Context, value []byte, visit func(element) error) error {
	if len(value) < bucketHeaderSize {
		return fmt.Errorf("a bucket has %d bytes", len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return f.walkTree(ctx, subtree{page: root}, visit)
	}
	p, err := parsePage(value[bucketHeaderSize:])
	if err != nil {
		return fmt.Errorf("the page of a small bucket: %w", err)
	}
	if p.kind != leafPage {
		return errors.New("the page of a small bucket has other pages")
	}
	return p.each(subtree{}, func(_ subtree, e element) error { return visit(e) })
}

// walkTree walks the keys of a tree, in their order.
func (f *boltFile) walkTree(ctx context.Context, t subtree, visit func(element) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.depth > maxDepth {
		return fmt.Errorf("page %d is more than %d pages deep", t.page, maxDepth)
	}
	p, err := f.readPage(t.page)
	if err != nil {
		return err
	}
	switch p.kind {
	case leafPage:
		return p.each(t, func(_ subtree, e element) error { return visit(e) })
	case branchPage:
		return p.each(t, func(child subtree, _ element) error { return f.walkTree(ctx, child, visit) })
	default:
		return fmt.Errorf("page %d has the type %#x", t.page, p.kind)
	}
}

// readPage reads a page with its overflow pages. A page can be read only once.
func (f *boltFile) readPage(id uint64) (page, error) {
	header := make([]byte, headerSize)
	if id < firstPage || id >= f.pages {
		return page{}, fmt.Errorf("page %d is not between %d and %d", id, firstPage, f.pages)
	}
	offset := int64(id) * f.pageSize //nolint:gosec // less than pages
	if _, err := f.source.ReadAt(header, offset); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	count := uint64(overflowOf(header)) + 1
	if count > f.pages-id {
		return page{}, fmt.Errorf("page %d has %d pages, and the database ends before", id, count)
	}
	if named := numberOf(header); named != id {
		return page{}, fmt.Errorf("page %d has the number %d", id, named)
	}
	for i := id; i < id+count; i++ {
		if f.used[i] {
			return page{}, fmt.Errorf("page %d is used twice", i)
		}
		f.used[i] = true
	}
	content := make([]byte, int64(count)*f.pageSize) //nolint:gosec // not more than pages
	if _, err := f.source.ReadAt(content, offset); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	p, err := parsePage(content)
	if err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return p, nil
}

// checkFree checks the list of free pages, which etcd does not keep in the file by default.
func (f *boltFile) checkFree() error {
	if f.freelist == noFreelist {
		return nil
	}
	p, err := f.readPage(f.freelist)
	if err != nil {
		return fmt.Errorf("the list of free pages: %w", err)
	}
	if p.kind != freelistPage {
		return fmt.Errorf("the list of free pages has the type %#x", p.kind)
	}
	for _, id := range p.free {
		if id < firstPage || id >= f.pages || f.used[id] {
			return fmt.Errorf("page %d is free, and is used or is no page", id)
		}
		f.used[id] = true
	}
	return nil
}
