// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

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
)

// verifyDatabase reads every key of a database, checks its structure, and returns the
// highest revision and the number of keys. size is the size of the database in bytes.
func verifyDatabase(ctx context.Context, source io.ReaderAt, size int64) (revision int64, keys int, err error) {
	database, err := openBolt(io.NewSectionReader(source, 0, size))
	if err != nil {
		return 0, 0, fmt.Errorf("the database cannot be read: %w; take another snapshot", err)
	}
	if has := database.size(); has != size {
		return 0, 0, fmt.Errorf("the database has %d bytes of %d; take another snapshot", size, has)
	}
	found := newRevisions()
	if err := database.walk(ctx, found.open); ctx.Err() != nil {
		return 0, 0, ctx.Err()
	} else if err != nil {
		return 0, 0, fmt.Errorf("the database is damaged: %w; take another snapshot", err)
	}
	if !found.etcd {
		return 0, 0, errors.New("the database has no keys of etcd; check the path")
	}
	return found.highest, len(found.live), nil
}

// firstRevision is the revision of an etcd without any write.
const firstRevision = 1

// revisions counts what etcd wrote, in the order of the revisions.
type revisions struct {
	etcd    bool // there are keys of etcd
	highest int64
	live    map[uint64]struct{} // the hashes of the keys that are not deleted
	seed    maphash.Seed
}

func newRevisions() *revisions {
	return &revisions{highest: firstRevision, live: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
}

// open returns what to do with the entries of a bucket.
func (r *revisions) open(bucket []byte) visit {
	switch {
	case bytes.Equal(bucket, keyBucket):
		r.etcd = true
		return r.addKey
	case bytes.Equal(bucket, metaBucket):
		return r.addCompaction
	default:
		return func(_, _ []byte) error { return nil }
	}
}

func (r *revisions) addKey(key, value []byte) error {
	main, deleted, err := parseRevision(key)
	if err != nil {
		return err
	}
	var kv mvccpb.KeyValue
	if err := proto.Unmarshal(value, &kv); err != nil {
		return fmt.Errorf("revision %d cannot be read: %w", main, err)
	}
	r.highest = max(r.highest, main)
	if hash := maphash.Bytes(r.seed, kv.Key); deleted {
		delete(r.live, hash)
	} else {
		r.live[hash] = struct{}{}
	}
	return nil
}

// addCompaction adds the revision up to which etcd was told to compact.
func (r *revisions) addCompaction(key, value []byte) error {
	for _, name := range compactionKeys {
		if main, _, err := parseRevision(value); err == nil && bytes.Equal(key, name) {
			r.highest = max(r.highest, main)
		}
	}
	return nil
}

// parseRevision returns the main revision, and whether the revision is a deletion.
func parseRevision(key []byte) (main int64, deleted bool, err error) {
	deleted = len(key) == deletionLength && key[revisionLength] == deletionMark
	if len(key) != revisionLength && !deleted {
		return 0, false, fmt.Errorf("%q is not a revision of etcd", key)
	}
	return int64(binary.BigEndian.Uint64(key)), deleted, nil //nolint:gosec // as etcd reads it
}
