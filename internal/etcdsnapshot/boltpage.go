// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes in a page, in bytes.
const (
	headerSize       = 16 // number 8, type 2, count 2, overflow 4
	elementSize      = 16 // branch: position 4, key 4, page 8; leaf: flags 4, position 4, key 4, value 4
	bucketHeaderSize = 16 // first page 8, sequence 8
	pageNumberSize   = 8
)

// The types of pages, and the flag of an element with a bucket.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
	bucketFlag   = 0x01
	// manyFree is the count of a list of free pages whose first number is the count.
	manyFree = 0xFFFF
)

// page is a page of a bbolt file.
type page struct {
	kind     uint16
	elements []element
	free     []uint64
}

// element is a key with a page on which keys from this one on are, or with a value.
type element struct {
	key, value []byte
	page       uint64
	bucket     bool // the value is a bucket
}

// subtree is a page with its place in the tree: the keys are not less than from, and less
// than to. nil is no limit.
type subtree struct {
	page     uint64
	from, to []byte
	depth    int
}

func numberOf(header []byte) uint64   { return binary.NativeEndian.Uint64(header) }
func kindOf(header []byte) uint16     { return binary.NativeEndian.Uint16(header[8:]) }
func overflowOf(header []byte) uint32 { return binary.NativeEndian.Uint32(header[12:]) }

// parsePage returns an error if an element is not inside of the page.
func parsePage(content []byte) (page, error) {
	if len(content) < headerSize {
		return page{}, fmt.Errorf("it has %d bytes", len(content))
	}
	number := binary.NativeEndian
	p := page{kind: kindOf(content)}
	count := int(number.Uint16(content[10:]))
	switch p.kind {
	case freelistPage:
		free, err := parseFree(content[headerSize:], count)
		p.free = free
		return p, err
	case branchPage, leafPage:
	default:
		return p, nil
	}
	if headerSize+count*elementSize > len(content) {
		return p, fmt.Errorf("%d elements are more than fit", count)
	}
	p.elements = make([]element, count)
	for i := range p.elements {
		e, err := parseElement(content[headerSize+i*elementSize:], p.kind)
		if err != nil {
			return p, fmt.Errorf("element %d: %w", i, err)
		}
		p.elements[i] = e
	}
	return p, nil
}

// parseElement parses the element at the beginning of rest. Positions count from there.
func parseElement(rest []byte, kind uint16) (element, error) {
	number := binary.NativeEndian
	var e element
	var position, key, value uint64
	if kind == branchPage {
		position, key = uint64(number.Uint32(rest)), uint64(number.Uint32(rest[4:]))
		e.page = number.Uint64(rest[8:])
	} else {
		e.bucket = number.Uint32(rest)&bucketFlag != 0
		position, key, value = uint64(number.Uint32(rest[4:])), uint64(number.Uint32(rest[8:])), uint64(number.Uint32(rest[12:]))
	}
	if position < elementSize || position+key+value > uint64(len(rest)) {
		return element{}, errors.New("it points out of the page")
	}
	e.key, e.value = rest[position:position+key], rest[position+key:position+key+value]
	return e, nil
}

func parseFree(rest []byte, count int) ([]uint64, error) {
	number, total := binary.NativeEndian, uint64(count) //nolint:gosec // 16 bits
	if count == manyFree && len(rest) >= pageNumberSize {
		total, rest = number.Uint64(rest), rest[pageNumberSize:]
	}
	if total > uint64(len(rest)/pageNumberSize) { //nolint:gosec // a length
		return nil, fmt.Errorf("%d free pages are more than fit", total)
	}
	free := make([]uint64, total)
	for i := range free {
		free[i] = number.Uint64(rest[i*pageNumberSize:])
	}
	return free, nil
}

// each calls visit with every element, and the part of the tree that begins there, after it
// has checked the order of the keys.
func (p page) each(t subtree, visit func(subtree, element) error) error {
	if p.kind == branchPage && len(p.elements) == 0 {
		return fmt.Errorf("page %d leads nowhere", t.page)
	}
	for i, e := range p.elements {
		part := subtree{page: e.page, from: e.key, to: t.to, depth: t.depth + 1}
		if i+1 < len(p.elements) {
			part.to = p.elements[i+1].key
		}
		outside := i == 0 && bytes.Compare(e.key, t.from) < 0
		if outside || part.to != nil && bytes.Compare(e.key, part.to) >= 0 {
			return fmt.Errorf("page %d: key %d is not in order", t.page, i)
		}
		if err := visit(part, e); err != nil {
			return err
		}
	}
	return nil
}
