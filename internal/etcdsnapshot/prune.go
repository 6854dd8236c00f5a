// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// storedSnapshot is a snapshot in the folder, by its name.
type storedSnapshot struct {
	name  string
	taken time.Time
	// cluster is the ID of the cluster of etcd.
	cluster  uint64
	revision int64
}

// limits are the count and the age up to which snapshots are kept; 0 is no limit.
type limits struct {
	count int
	age   time.Duration
}

// chooseForRemoval returns the snapshots to remove after a new snapshot was verified: all
// beyond the count, the highest revision first, and all beyond the age. The new snapshot is
// always kept, even if the clock is wrong. The count goes by revisions, because a wrong clock
// would sort its files above or below all other files. Snapshots of another cluster of etcd
// are not counted and are kept. Snapshots with a higher revision than the new snapshot are
// not counted and are kept too: etcd was restored, and no other file has the revisions
// between.
func chooseForRemoval(stored []storedSnapshot, newest storedSnapshot, now time.Time, l limits) []storedSnapshot {
	older := slices.DeleteFunc(slices.Clone(stored), func(s storedSnapshot) bool {
		return s.name == newest.name || s.cluster != newest.cluster || s.revision > newest.revision
	})
	slices.SortFunc(older, func(a, b storedSnapshot) int {
		return cmp.Or(cmp.Compare(b.revision, a.revision), b.taken.Compare(a.taken), cmp.Compare(a.name, b.name))
	})
	var removed []storedSnapshot
	for i, s := range older {
		beyondCount := l.count > 0 && i+1 >= l.count // the new snapshot is the first
		beyondAge := l.age > 0 && now.Sub(s.taken) > l.age
		if beyondCount || beyondAge {
			removed = append(removed, s)
		}
	}
	return removed
}

// countKept returns how many snapshots are kept beside all limits: snapshots of the same
// cluster of etcd with a higher revision than the new snapshot, and snapshots of other
// clusters.
func countKept(stored []storedSnapshot, newest storedSnapshot) (ahead, foreign int) {
	for _, s := range stored {
		switch {
		case s.cluster != newest.cluster:
			foreign++
		case s.revision > newest.revision:
			ahead++
		}
	}
	return ahead, foreign
}

// prune removes snapshots beyond the limits. Of the folder, prune sees regular files with
// the name of a snapshot alone.
func (f *folder) prune(newest storedSnapshot, now time.Time, l limits, out io.Writer) error {
	stored, err := f.listSnapshots()
	if err != nil {
		return fmt.Errorf("pruning snapshots: %w", err)
	}
	ahead, foreign := countKept(stored, newest)
	if ahead > 0 {
		fmt.Fprintf(out, "Kept snapshots with a higher revision than %d: %d. They are probably from before a restore, "+
			"and the only copy of what was written then: remove them by hand when you are sure that nobody needs them\n", newest.revision, ahead)
	}
	if foreign > 0 {
		fmt.Fprintf(out, "Kept snapshots of other clusters of etcd than %x: %d. They are of another etcd with the same folder, or of "+
			"this etcd before it was restored or replaced: remove these snapshots by hand when nobody needs them\n", newest.cluster, foreign)
	}
	removed := chooseForRemoval(stored, newest, now, l)
	for _, s := range removed {
		if err := os.Remove(f.join(s.name)); err != nil {
			return fmt.Errorf("pruning snapshots: %w", err)
		}
		fmt.Fprintf(out, "Pruned %s\n", s.name)
	}
	if len(removed) == 0 {
		return nil
	}
	return f.sync()
}
