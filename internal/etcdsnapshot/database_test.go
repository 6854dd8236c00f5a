// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot_test

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
)

// revision returns a revision as etcd stores it.
func revision(main uint64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, main), "_\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

// Older versions of etcd compact a deletion even if it was the last write. Then only the
// record of the compaction has the deletion's revision, and etcd continues from that revision.
func TestRevisionOfACompactedDeletion(t *testing.T) {
	g := NewWithT(t)
	path := filepath.Join(t.TempDir(), "snapshot.db")
	db, err := bbolt.Open(path, 0o600, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(db.Update(func(tx *bbolt.Tx) error {
		keys, err := tx.CreateBucket([]byte("key"))
		g.Expect(err).NotTo(HaveOccurred())
		for i, key := range []string{"a", "b", "a"} {
			value, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte(key)})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(keys.Put(revision(uint64(i+2)), value)).To(Succeed())
		}
		meta, err := tx.CreateBucket([]byte("meta"))
		g.Expect(err).NotTo(HaveOccurred())
		return meta.Put([]byte("finishedCompactRev"), revision(9))
	})).To(Succeed())
	var size int64
	g.Expect(db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })).To(Succeed())
	g.Expect(db.Close()).To(Succeed())
	content, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	sum := sha256.Sum256(content[:size]) // etcd sends the part in use, and its hash
	g.Expect(os.WriteFile(path, append(content[:size], sum[:]...), 0o600)).To(Succeed())

	got, err := etcdsnapshot.VerifyFile(t.Context(), path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.Revision).To(Equal(int64(9)))
	g.Expect(got.Keys).To(Equal(2))
}
