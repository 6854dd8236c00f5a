// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// The IDs of two clusters of etcd.
const ownCluster, otherCluster uint64 = 0xcdf818194e3a8c32, 0x1f

// taken returns a snapshot of some hours before noon.
func taken(hoursAgo int, revision int64) storedSnapshot {
	return takenOf(ownCluster, hoursAgo, revision)
}

func takenOf(cluster uint64, hoursAgo int, revision int64) storedSnapshot {
	at := noon.Add(-time.Duration(hoursAgo) * time.Hour)
	s, ok := parseName(formatName(at, cluster, revision))
	if !ok {
		panic("not the name of a snapshot")
	}
	return s
}

func TestChooseForRemoval(t *testing.T) {
	newest := taken(0, 100)
	day, days2, days3 := taken(24, 90), taken(48, 80), taken(72, 70)
	all := []storedSnapshot{days2, newest, days3, day}
	for name, test := range map[string]struct {
		stored []storedSnapshot
		limits limits
		want   []storedSnapshot
	}{
		"no limit":               {all, limits{}, nil},
		"by count":               {all, limits{count: 2}, []storedSnapshot{days2, days3}},
		"one":                    {all, limits{count: 1}, []storedSnapshot{day, days2, days3}},
		"more than there are":    {all, limits{count: 9}, nil},
		"by age":                 {all, limits{age: 48 * time.Hour}, []storedSnapshot{days3}},
		"by count and age":       {all, limits{count: 3, age: 30 * time.Hour}, []storedSnapshot{days2, days3}},
		"never the new one":      {[]storedSnapshot{newest}, limits{count: 1, age: time.Nanosecond}, nil},
		"a clock that went back": {[]storedSnapshot{newest, taken(-24, 90), taken(-48, 95)}, limits{count: 2}, []storedSnapshot{taken(-24, 90)}},
		"a restored etcd keeps what is ahead": {
			[]storedSnapshot{newest, taken(24, 900), taken(48, 800), taken(72, 70), taken(96, 60)}, limits{count: 2, age: time.Hour},
			[]storedSnapshot{taken(72, 70), taken(96, 60)},
		},
		"a clock that was ahead for a time": {
			[]storedSnapshot{newest, taken(-7200, 51), taken(-7201, 52), taken(6, 99), taken(12, 98)}, limits{count: 3},
			[]storedSnapshot{taken(-7201, 52), taken(-7200, 51)},
		},
		"a clock that was behind for a time": {
			[]storedSnapshot{newest, taken(9000, 99), taken(12, 98)}, limits{count: 2}, []storedSnapshot{taken(12, 98)},
		},
		"the same revision, at several times": {
			[]storedSnapshot{newest, taken(2, 90), taken(1, 90), taken(3, 90)}, limits{count: 2}, []storedSnapshot{taken(2, 90), taken(3, 90)},
		},
		"another etcd with the same folder": {
			[]storedSnapshot{newest, day, days2, takenOf(otherCluster, 200, 5), takenOf(otherCluster, 1, 99), takenOf(otherCluster, 2, 900)},
			limits{count: 2, age: 100 * time.Hour}, []storedSnapshot{days2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(chooseForRemoval(test.stored, newest, noon, test.limits)).To(Equal(test.want))
		})
	}
}

// Whatever files the folder has: the new snapshot stays, and a removed
// snapshot is older than all that the count keeps.
func TestNewestIsNeverRemoved(t *testing.T) {
	g := NewWithT(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		newest := taken(random.IntN(50), random.Int64N(100))
		stored := []storedSnapshot{newest}
		for range random.IntN(12) {
			stored = append(stored, takenOf([]uint64{ownCluster, otherCluster}[random.IntN(2)], random.IntN(50)-10, random.Int64N(100)))
		}
		l := limits{count: random.IntN(5), age: time.Duration(random.IntN(40)) * time.Hour}
		removed := chooseForRemoval(stored, newest, noon, l)
		for _, r := range removed {
			g.Expect(r.name).NotTo(Equal(newest.name))
			g.Expect(r.revision).To(BeNumerically("<=", newest.revision))
			g.Expect(r.cluster).To(Equal(newest.cluster))
		}
		if l == (limits{}) {
			g.Expect(removed).To(BeEmpty())
		}
	}
}

func TestNamesOfSnapshots(t *testing.T) {
	g := NewWithT(t)
	for _, want := range []storedSnapshot{
		{name: "etcd-snapshot-20261130T120000Z-cdf818194e3a8c32-r42.db", taken: noon, cluster: ownCluster, revision: 42},
		{name: "etcd-snapshot-20261130T120000Z-1f-r42.db", taken: noon, cluster: otherCluster, revision: 42},
	} {
		s, ok := parseName(formatName(noon.In(time.FixedZone("", 3600)), want.cluster, 42))
		g.Expect(ok).To(BeTrue())
		g.Expect(s).To(Equal(want))
	}
	for _, name := range []string{
		"", "snapshot.db", "etcd-snapshot-20261130T120000Z-1f-r42.db.part", "xetcd-snapshot-20261130T120000Z-1f-r42.db",
		"etcd-snapshot-20269930T120000Z-1f-r42.db", "etcd-snapshot-20261130T120000Z-1f-r9999999999999999999.db",
		"etcd-snapshot-20261130T120000Z-1f-r-1.db", "etcd-snapshot-20261130T120000Z-1f.db", ".etcd-snapshot-1.partial",
		"etcd-snapshot-20261130T120000Z-r42.db", "etcd-snapshot-20261130T120000Z-xyz-r42.db",
		"etcd-snapshot-20261130T120000Z-11111111111111111-r42.db",
	} {
		_, ok := parseName(name)
		g.Expect(ok).To(BeFalse(), name)
		g.Expect(partialName.MatchString(name)).To(Equal(name == ".etcd-snapshot-1.partial"), name)
	}
}

// Only regular files with matching names are removed.
func TestPruneRemovesOnlyItsOwnFiles(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	g.Expect(os.Chmod(dir, 0o700)).To(Succeed())
	f, err := openFolder(dir)
	g.Expect(err).NotTo(HaveOccurred())
	defer f.close()
	write := func(name string) string {
		g.Expect(os.WriteFile(filepath.Join(dir, name), nil, 0o600)).To(Succeed())
		return name
	}
	newest, older := taken(0, 9), taken(1, 8)
	write(newest.name)
	write(older.name)
	write(".etcd-snapshot-123.partial")
	foreign := []string{
		write(takenOf(otherCluster, 4, 5).name), write(taken(5, 10).name), write("etcd-snapshot-old.db"), write(".etcd-snapshot-x.partial"), write("etcd-snapshot-123.partial"), taken(2, 7).name, taken(3, 6).name,
	}
	g.Expect(os.Mkdir(filepath.Join(dir, taken(2, 7).name), 0o700)).To(Succeed())
	g.Expect(os.Symlink(newest.name, filepath.Join(dir, taken(3, 6).name))).To(Succeed())
	g.Expect(f.removePartials(io.Discard)).To(Succeed())
	var out strings.Builder
	g.Expect(f.prune(newest, noon, limits{count: 1}, &out)).To(Succeed())
	g.Expect(out.String()).To(And(ContainSubstring("Kept snapshots with a higher revision than 9: 1. "),
		ContainSubstring("Kept snapshots of other clusters of etcd than cdf818194e3a8c32: 1. ")))
	entries, err := os.ReadDir(dir)
	g.Expect(err).NotTo(HaveOccurred())
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	g.Expect(left).To(ConsistOf(append(foreign, newest.name)))
}
