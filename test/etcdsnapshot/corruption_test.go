// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
)

// Every damage to a good snapshot is found, and etcdutl refuses to restore the same file.
func TestCorruptionIsDetected(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	taker, _ := newTaker(backupFolder(t), server.endpoint)
	s, err := taker.Take(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	good, err := os.ReadFile(s.Path)
	g.Expect(err).NotTo(HaveOccurred())
	size := len(good) - sha256.Size

	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	// rehash hides damage from the hash, so that only the structure shows the damage.
	rehash := func(b []byte) []byte {
		sum := sha256.Sum256(b[:len(b)-sha256.Size])
		return append(b[:len(b)-sha256.Size], sum[:]...)
	}
	wipe := func(b []byte, from, to int) []byte {
		clear(b[from:to])
		return b
	}
	// A revision after all others, in the place of the first key.
	early := []byte("\x00\x00\x00\x00\x00\x00\x00\x05_\x00\x00\x00\x00\x00\x00\x00\x00")
	late := []byte("\x00\x00\x00\x00\x00\x00\x05\x05_\x00\x00\x00\x00\x00\x00\x00\x00")
	g.Expect(bytes.Count(good, early)).To(BeNumerically(">", 0))
	page := os.Getpagesize()
	tests := map[string]struct {
		damage func([]byte) []byte
		want   string
	}{
		"the first byte":                   {damage: flip(0), want: "the file is damaged"},
		"a byte of the first meta page":    {damage: flip(page / 2), want: "the file is damaged"},
		"a byte in the middle":             {damage: flip(size / 2), want: "the file is damaged"},
		"the last byte of the database":    {damage: flip(size - 1), want: "the file is damaged"},
		"the first byte of the hash":       {damage: flip(size), want: "the file is damaged"},
		"the last byte of the hash":        {damage: flip(len(good) - 1), want: "the file is damaged"},
		"a byte less":                      {damage: func(b []byte) []byte { return b[:len(b)-1] }, want: "is cut off"},
		"without the hash":                 {damage: func(b []byte) []byte { return b[:size] }, want: "is cut off"},
		"a page less":                      {damage: func(b []byte) []byte { return b[:len(b)-page] }, want: "the file is damaged"},
		"half of it":                       {damage: func(b []byte) []byte { return b[:size/2] }, want: "is cut off"},
		"nothing":                          {damage: func([]byte) []byte { return nil }, want: "is cut off"},
		"a byte more":                      {damage: func(b []byte) []byte { return append(b, 0) }, want: "is cut off"},
		"a page more":                      {damage: func(b []byte) []byte { return append(b, make([]byte, page)...) }, want: "the file is damaged"},
		"both meta pages, with a new hash": {damage: func(b []byte) []byte { return rehash(wipe(b, 0, 2*page)) }, want: "meta page 0 is not valid"},
		"half of it, with a new hash": {
			damage: func(b []byte) []byte { return rehash(b[:size/2/page*page+sha256.Size]) }, want: "the database has",
		},
		"keys out of order, with a new hash": {
			damage: func(b []byte) []byte { return rehash(bytes.ReplaceAll(b, early, late)) }, want: "is not in order",
		},
		"all but the meta pages, with a new hash": {
			damage: func(b []byte) []byte { return rehash(wipe(b, 2*page, size)) }, want: "the database is damaged",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := gomega(t)
			path := filepath.Join(t.TempDir(), "snapshot.db")
			g.Expect(os.WriteFile(path, test.damage(append([]byte(nil), good...)), 0o600)).To(Succeed())
			_, err := etcdsnapshot.VerifyFile(ctx, path)
			g.Expect(err).To(MatchError(And(ContainSubstring(path+" is not a good snapshot"), ContainSubstring(test.want))))
		})
	}
	_, err = etcdsnapshot.VerifyFile(ctx, s.Path)
	g.Expect(err).NotTo(HaveOccurred(), "the good snapshot")

	// etcdutl agrees on the hash.
	path := filepath.Join(t.TempDir(), "snapshot.db")
	g.Expect(os.WriteFile(path, flip(size/2)(append([]byte(nil), good...)), 0o600)).To(Succeed())
	text, err := etcdutl(t, "snapshot", "restore", path, "--data-dir="+filepath.Join(t.TempDir(), "restored"))
	g.Expect(err).To(HaveOccurred())
	g.Expect(text).To(ContainSubstring("expected sha256"))
}
