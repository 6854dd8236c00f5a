// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.etcd.io/bbolt"
)

// entry is an entry of a bucket.
type entry struct{ bucket, key, value string }

// Databases that bbolt wrote are read as bbolt reads them. A damaged database leads to an
// error, or is one that bbolt finds no fault in: never to a panic, and never to an endless
// walk.
func TestDamagedDatabases(t *testing.T) {
	g := NewWithT(t)
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	refused, accepted := 0, 0
	for range 12 {
		path := filepath.Join(t.TempDir(), "good.db")
		good := randomDatabase(g, random, path)
		entries, err := walkAll(good)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(entries).To(Equal(readWithBolt(g, path)))
		g.Expect(len(entries)).To(BeNumerically(">", 0))
		for range 150 {
			damaged, damage := damage(random, good)
			entries, err := walkAll(damaged)
			if err != nil {
				refused++
				continue
			}
			accepted++
			path := filepath.Join(t.TempDir(), "damaged.db")
			g.Expect(os.WriteFile(path, damaged, 0o600)).To(Succeed())
			g.Expect(entries).To(Equal(readWithBolt(g, path)), damage)
		}
	}
	t.Logf("%d refused, %d accepted", refused, accepted)
	g.Expect(refused).To(BeNumerically(">", 100))
	g.Expect(accepted).To(BeNumerically(">", 10))
}

// randomDatabase returns the part of a new database that is in use, as etcd sends it.
func randomDatabase(g Gomega, random *rand.Rand, path string) []byte {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: random.IntN(2) == 0, NoSync: true, PageSize: 1024 << random.IntN(3)})
	g.Expect(err).NotTo(HaveOccurred())
	for range 1 + random.IntN(6) {
		g.Expect(db.Update(func(tx *bbolt.Tx) error {
			for range 1 + random.IntN(4) {
				bucket, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "bucket %d", random.IntN(6)))
				g.Expect(err).NotTo(HaveOccurred())
				for range random.IntN(400) {
					key, value := fmt.Appendf(nil, "%x", random.IntN(2000)), bytes.Repeat([]byte("v"), random.IntN(60))
					if random.IntN(100) == 0 {
						value = bytes.Repeat([]byte("large"), random.IntN(2000))
					}
					g.Expect(bucket.Put(key, value)).To(Succeed())
					if random.IntN(4) == 0 {
						g.Expect(bucket.Delete(fmt.Appendf(nil, "%x", random.IntN(2000)))).To(Succeed())
					}
				}
				g.Expect(bucket.Put([]byte("one"), nil)).To(Succeed())
			}
			return nil
		})).To(Succeed())
	}
	var size int64
	g.Expect(db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })).To(Succeed())
	g.Expect(db.Close()).To(Succeed())
	g.Expect(os.Truncate(path, max(size, 0))).To(Succeed())
	content, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	return content
}

// damage returns a damaged copy, and what was done.
func damage(random *rand.Rand, good []byte) (damaged []byte, done string) {
	damaged = bytes.Clone(good)
	const unit = 1024 // of every page size
	for range 1 + random.IntN(3) {
		at, other := random.IntN(len(good)/unit)*unit, random.IntN(len(good)/unit)*unit
		switch random.IntN(5) {
		case 0:
			at = random.IntN(len(good))
			damaged[at] ^= 1 << random.IntN(8)
		case 1: // in the numbers at the beginning of a page
			at += random.IntN(64)
			damaged[at] = byte(random.IntN(256))
		case 2:
			clear(damaged[at : at+unit])
		case 3:
			copy(damaged[at:at+unit], good[other:other+unit])
		default: // the number of another page
			at += random.IntN(16) * 8
			damaged[at], damaged[at+1] = byte(random.IntN(len(good)/unit)), 0
		}
		done += fmt.Sprintf("byte %d, ", at)
	}
	return damaged, done
}

// walkAll reads all entries with the code under test.
func walkAll(content []byte) (entries []entry, err error) {
	f, err := openBolt(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if f.size() != int64(len(content)) {
		return nil, fmt.Errorf("%d bytes of %d", len(content), f.size())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = f.walk(ctx, func(bucket []byte) visit {
		return func(key, value []byte) error {
			entries = append(entries, entry{string(bucket), string(key), string(value)})
			return nil
		}
	})
	return entries, err
}

// readWithBolt reads all entries with bbolt, which must find no fault.
func readWithBolt(g Gomega, path string) (entries []entry) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(db.Close()).To(Succeed()) }()
	g.Expect(db.View(func(tx *bbolt.Tx) error {
		for fault := range tx.Check() {
			if !isUnreachable(fault) {
				return fault
			}
		}
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(key, value []byte) error {
				entries = append(entries, entry{string(name), string(key), string(value)})
				return nil
			})
		})
	})).To(Succeed())
	return entries
}

// isUnreachable tells whether bbolt only misses a page, in which nothing is lost.
func isUnreachable(fault error) bool {
	return bytes.HasSuffix([]byte(fault.Error()), []byte("unreachable unfreed"))
}
