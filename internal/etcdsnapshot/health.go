// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The alarms of etcd, as in the texts of a status.
const (
	alarmCorrupt = "alarm:CORRUPT"
	alarmNoSpace = "alarm:NOSPACE"
)

// errCorrupt is the error of an etcd of which no member may be asked for a snapshot.
var errCorrupt = errors.New("the data of etcd are damaged")

// checkCorruption returns an error if etcd has found damage in its data. The alarm concerns
// all members: a snapshot of another member does not help, and in time snapshots with the
// damage would replace every snapshot from before the damage.
func checkCorruption(address string, status *clientv3.StatusResponse) error {
	for _, text := range status.Errors {
		if strings.Contains(text, alarmCorrupt) {
			return fmt.Errorf("etcd at %s has the alarm CORRUPT (%s): %w; no snapshot was taken, and no older one was removed. "+
				"Keep the older snapshots, compare the members with etcdctl endpoint hashkv --cluster, replace the damaged member or "+
				"restore a good snapshot, and then run etcdctl alarm disarm", address, text, errCorrupt)
		}
	}
	return nil
}

// checkMember returns an error if the member may lack data that other members have
// acknowledged. The caller then asks another member.
func checkMember(address string, status *clientv3.StatusResponse) error {
	switch {
	case status.IsLearner:
		return fmt.Errorf("etcd at %s is a learner, and may lack newer data: set --endpoints to a voting member, "+
			"or promote this one with etcdctl member promote", address)
	case status.Leader == 0:
		return fmt.Errorf("etcd at %s has no leader, and may lack newer data: start the other members of etcd, "+
			"or set --endpoints to a member that has a leader", address)
	}
	return nil
}

// listWarnings returns the member's own warnings that are no reason against a snapshot.
func listWarnings(status *clientv3.StatusResponse) []string {
	var warnings []string
	for _, text := range status.Errors {
		if strings.Contains(text, alarmNoSpace) {
			text += ": etcd takes no writes until there is room. The snapshot is as good as any: " +
				"compact and defragment etcd, and then run etcdctl alarm disarm"
		}
		warnings = append(warnings, text)
	}
	return warnings
}
