// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"k8s.io/client-go/rest"
)

const goodRevision = 900

// statusWith returns the status of a good member, with a change.
func statusWith(change func(*pb.StatusResponse)) *pb.StatusResponse {
	status := &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: ownCluster, Revision: goodRevision}, Version: "3.7.3", DbSize: 1000, Leader: 1}
	change(status)
	return status
}

func isGood(*pb.StatusResponse)      {}
func isLearner(s *pb.StatusResponse) { s.IsLearner = true }
func isLeaderless(s *pb.StatusResponse) {
	s.Leader, s.Errors = 0, []string{"etcdserver: no leader"}
}
func isFull(s *pb.StatusResponse)    { s.Errors = []string{"memberID:1 alarm:NOSPACE"} }
func isCorrupt(s *pb.StatusResponse) { s.Errors = []string{"memberID:1  alarm:CORRUPT"} }
func isCorruptWithoutLeader(s *pb.StatusResponse) {
	s.Leader, s.Errors = 0, []string{"etcdserver: no leader", "memberID:2 alarm:CORRUPT"}
}

// No snapshot is taken of a member that may lack data; the next member is tried. No snapshot at all is taken
// of an etcd with damaged data. A run without a snapshot removes no files, and does not reach the Lease.
func TestSnapshotsAreTakenOnlyOfGoodMembers(t *testing.T) {
	pki, content := newMemberPKI(t), encodeSnapshot(t, goodRevision)
	type states []func(*pb.StatusResponse)
	for name, test := range map[string]struct {
		members []states // the states of each member before and after the snapshot
		from    int      // the member of the snapshot; -1 for no snapshot
		asked   int      // how many members are tried
		told    []string // in the error, or in the output of a run without an error
		untold  string
	}{
		"a good member": {[]states{{isGood}}, 0, 1, nil, "Warning"},
		"no leader": {
			[]states{{isLeaderless}}, -1, 1, []string{"no endpoint is left to ask for a snapshot", "has no leader", "start the other members"}, "",
		},
		"a learner": {[]states{{isLearner}}, -1, 1, []string{"no endpoint is left", "is a learner", "set --endpoints to a voting member"}, ""},
		"a learner and a member without a leader, before a good one": {
			[]states{{isLearner}, {isLeaderless}, {isGood}}, 2, 3, []string{"Passed over: etcd at 127.0.0.1", "is a learner", "has no leader"}, "Warning",
		},
		"no good one among several": {
			[]states{{isLearner}, {isLeaderless}}, -1, 2, []string{"no endpoint is left", "is a learner", "has no leader"}, "",
		},
		"damaged data": {
			[]states{{isCorrupt}, {isGood}}, -1, 1, []string{"has the alarm CORRUPT (memberID:1", "Keep the older snapshots", "etcdctl alarm disarm"}, "",
		},
		"damaged data, and no leader": {[]states{{isCorruptWithoutLeader}, {isGood}}, -1, 1, []string{"has the alarm CORRUPT (memberID:2"}, ""},
		"damaged data behind a learner": {
			[]states{{isLearner}, {isCorrupt}, {isGood}}, -1, 2, []string{"has the alarm CORRUPT"}, "",
		},
		"damage that is found during the snapshot": {[]states{{isGood, isCorrupt}}, -1, 1, []string{"has the alarm CORRUPT"}, ""},
		"no space": {
			[]states{{isFull}}, 0, 1, []string{"Warning: etcd at 127.0.0.1", "alarm:NOSPACE: etcd takes no writes", "The snapshot is as good as any"}, "",
		},
		"a leader that is lost after the snapshot": {[]states{{isGood, isLeaderless}}, 0, 1, nil, "Warning"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var members []*fakeMember
			var endpoints []string
			for _, states := range test.members {
				m := &fakeMember{content: content}
				for _, change := range states {
					m.statuses = append(m.statuses, statusWith(change))
				}
				members, endpoints = append(members, m), append(endpoints, pki.serve(t, m))
			}
			taker, out, reached := newFakeTaker(t, pki, strings.Join(endpoints, ","))
			good := writeOlderSnapshots(t, taker.Dir, taker.KeepCount)
			s, err := taker.Take(t.Context())
			text := out.String()
			if test.from < 0 {
				g.Expect(err).To(HaveOccurred())
				g.Expect(s.Path).To(BeEmpty())
				g.Expect(namesIn(g, taker.Dir)).To(ConsistOf(good), "no snapshot is pruned, and no temporary file is left")
				g.Expect(*reached).To(BeFalse(), "the run does not reach the Lease")
				text = err.Error()
			} else {
				g.Expect(err).To(MatchError(errNoCluster), "the error comes after a good snapshot")
				g.Expect(filepath.Base(s.Path)).To(Equal("etcd-snapshot-20261130T120000Z-cdf818194e3a8c32-r900.db"))
				g.Expect("https://" + s.Member).To(Equal(endpoints[test.from]))
				g.Expect(namesIn(g, taker.Dir)).To(ConsistOf(append(good[:len(good)-1:len(good)-1], filepath.Base(s.Path))))
			}
			for _, part := range test.told {
				g.Expect(text).To(ContainSubstring(part))
			}
			if test.untold != "" {
				g.Expect(text).NotTo(ContainSubstring(test.untold))
			}
			g.Expect(strings.Count(text, "no leader")).To(BeNumerically("<=", 1), "reported once: %s", text)
			for i, m := range members {
				g.Expect(m.asked > 0).To(Equal(i < test.asked), "member %d", i)
			}
		})
	}
}

// errNoCluster is the answer to a request for the cluster of the Lease.
var errNoCluster = errors.New("no cluster")

// newFakeTaker returns a taker, its output, and whether the taker has reached the Lease.
func newFakeTaker(t *testing.T, pki memberPKI, endpoints string) (*Taker, *strings.Builder, *bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	NewWithT(t).Expect(os.Mkdir(dir, 0o700)).To(Succeed())
	out, reached := &strings.Builder{}, false
	return &Taker{
		Options: Options{
			Endpoints: endpoints, CACert: pki.cert, Cert: pki.cert, Key: pki.key, Dir: dir, Timeout: time.Minute, KeepCount: 3, Lease: "ns/lease",
		},
		Out:     out,
		Now:     func() time.Time { return noon },
		Cluster: func() (*rest.Config, error) { reached = true; return nil, errNoCluster },
	}, out, &reached
}

// writeOlderSnapshots fills a folder with older snapshots, and returns their names, the
// newest first.
func writeOlderSnapshots(t *testing.T, dir string, count int) []string {
	t.Helper()
	var names []string
	for i := 1; i <= count; i++ {
		names = append(names, taken(i, goodRevision-int64(i)).name)
		NewWithT(t).Expect(os.WriteFile(filepath.Join(dir, names[i-1]), nil, 0o600)).To(Succeed())
	}
	return names
}

// namesIn returns the names of the files in a folder.
func namesIn(g *WithT, dir string) []string {
	entries, err := os.ReadDir(dir)
	g.Expect(err).NotTo(HaveOccurred())
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
