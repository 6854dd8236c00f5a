// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

const (
	nameTime = "20060102T150405Z"
	// partialPattern is the pattern of os.CreateTemp for what is being written.
	partialPattern = ".etcd-snapshot-*.partial"
)

var (
	snapshotName = regexp.MustCompile(`^etcd-snapshot-([0-9]{8}T[0-9]{6}Z)-([0-9a-f]{1,16})-r([0-9]{1,19})\.db$`)
	partialName  = regexp.MustCompile(`^\.etcd-snapshot-[0-9]+\.partial$`)
)

// formatName returns the name of the file of a snapshot. The ID of the cluster of etcd is
// written as in the log of etcd.
func formatName(taken time.Time, cluster uint64, revision int64) string {
	return fmt.Sprintf("etcd-snapshot-%s-%x-r%d.db", taken.UTC().Format(nameTime), cluster, revision)
}

// parseName returns the parts of a name, and false if the name is not the name of a
// snapshot.
func parseName(name string) (stored storedSnapshot, ok bool) {
	match := snapshotName.FindStringSubmatch(name)
	if match == nil {
		return storedSnapshot{}, false
	}
	taken, err := time.Parse(nameTime, match[1])
	if err != nil {
		return storedSnapshot{}, false
	}
	cluster, err := strconv.ParseUint(match[2], 16, 64)
	if err != nil {
		return storedSnapshot{}, false
	}
	revision, err := strconv.ParseInt(match[3], 10, 64)
	if err != nil {
		return storedSnapshot{}, false
	}
	return storedSnapshot{name: name, taken: taken, cluster: cluster, revision: revision}, true
}
