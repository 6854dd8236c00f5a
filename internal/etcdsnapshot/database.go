// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// The buckets and keys of etcd's database, as in go.etcd.io/etcd/server/v3/storage/schema.
var (
	keyBucket  = []byte("key")
	metaBucket = []byte("meta")
	// If the last write was a deletion and an older etcd has compacted the deletion, only
	// one of the following keys has the highest revision.
	compactionKeys = [][]byte{[]byte("scheduledCompactRev"), []byte("finishedCompactRev")}
)

const (
	// revisionLength counts 8 bytes of the main revision, '_', and 8 bytes of the sub
	// revision. A deletion has one more byte.
	revisionLength = 17
	deletionLength = revisionLength + 1
	deletionMark   = 't'
	// checkEvery is after how many entries the context is looked at.
	checkEvery = 1024
)

// verifyDatabase reads every key of a database, checks its structure, and returns the
// highest revision and the number of keys. size is the size of the database.
func verifyDatabase(ctx context.Context, path string, size int64) (revision int64, keys int, err error) {
	// A damaged database can lead beyond the end of the file.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the database is damaged: %v; take another snapshot", r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return 0, 0, fmt.Errorf("the database cannot be opened: %w; take another snapshot", err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		if tx.Size() != size {
			return fmt.Errorf("the database has %d bytes of %d; take another snapshot", size, tx.Size())
		}
		// This check comes before bbolt's own check, because bbolt ends the program on a
		// bad page.
		if err := readOthers(ctx, tx); err != nil {
			return err
		}
		if revision, keys, err = readKeys(ctx, tx); err != nil {
			return err
		}
		return checkStructure(ctx, tx)
	})
	return revision, keys, err
}

// readOthers reads every bucket but that of the keys, page by page.
func readOthers(ctx context.Context, tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		if bytes.Equal(name, keyBucket) {
			return nil
		}
		return bucket.ForEach(func(_, _ []byte) error { return ctx.Err() })
	})
}

// checkStructure returns the first fault that bbolt finds.
func checkStructure(ctx context.Context, tx *bbolt.Tx) error {
	var first error
	for fault := range tx.Check() { // to the end, or its goroutine would stay
		if first == nil {
			first = fault
		}
	}
	if first != nil {
		return fmt.Errorf("the structure of the database is damaged: %w; take another snapshot", first)
	}
	return ctx.Err()
}

// firstRevision is the revision of an etcd without any write.
const firstRevision = 1

// readKeys reads all revisions in their order.
func readKeys(ctx context.Context, tx *bbolt.Tx) (revision int64, keys int, err error) {
	bucket := tx.Bucket(keyBucket)
	if bucket == nil {
		return 0, 0, errors.New("the database has no keys of etcd; check the path")
	}
	seed, live := maphash.MakeSeed(), map[uint64]struct{}{}
	count := 0
	err = bucket.ForEach(func(k, v []byte) error {
		if count++; count%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		main, deleted, err := parseRevision(k)
		if err != nil {
			return err
		}
		var kv mvccpb.KeyValue
		if err := proto.Unmarshal(v, &kv); err != nil {
			return fmt.Errorf("revision %d cannot be read: %w; take another snapshot", main, err)
		}
		revision = max(revision, main)
		if key := maphash.Bytes(seed, kv.Key); deleted {
			delete(live, key)
		} else {
			live[key] = struct{}{}
		}
		return nil
	})
	return max(firstRevision, revision, compactedRevision(tx)), len(live), err
}

// compactedRevision returns the revision up to which etcd was told to compact.
func compactedRevision(tx *bbolt.Tx) (revision int64) {
	bucket := tx.Bucket(metaBucket)
	if bucket == nil {
		return 0
	}
	for _, key := range compactionKeys {
		if main, _, err := parseRevision(bucket.Get(key)); err == nil {
			revision = max(revision, main)
		}
	}
	return revision
}

// parseRevision returns the main revision, and whether the revision is a deletion.
func parseRevision(key []byte) (main int64, deleted bool, err error) {
	deleted = len(key) == deletionLength && key[revisionLength] == deletionMark
	if len(key) != revisionLength && !deleted {
		return 0, false, fmt.Errorf("%q is not a revision of etcd; take another snapshot", key)
	}
	return int64(binary.BigEndian.Uint64(key)), deleted, nil //nolint:gosec // as etcd reads it
}
