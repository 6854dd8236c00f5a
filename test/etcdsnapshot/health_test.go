// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// raise raises or ends an alarm, as etcd does itself.
func (e *etcd) raise(t *testing.T, g *WithT, action pb.AlarmRequest_AlarmAction, alarm pb.AlarmType) {
	t.Helper()
	status, err := e.client.Status(t.Context(), e.endpoint)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = pb.NewMaintenanceClient(e.client.ActiveConnection()).Alarm(t.Context(),
		&pb.AlarmRequest{Action: action, MemberID: status.Header.MemberId, Alarm: alarm})
	g.Expect(err).NotTo(HaveOccurred())
}

// The alarms and states of a real etcd are understood: with damaged data, no snapshot is taken
// and none removed; without room, one is taken; without a leader, the next endpoint is tried.
func TestUnhealthyEtcd(t *testing.T) {
	g := gomega(t)
	source, err := startEtcd(t.TempDir(), authority)
	g.Expect(err).NotTo(HaveOccurred())
	defer source.process.Stop()
	taker, out := newTaker(backupFolder(t), source.endpoint)
	taker.KeepCount = 1
	first, err := taker.Take(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out.String()).NotTo(ContainSubstring("Warning"))

	source.raise(t, g, pb.AlarmRequest_ACTIVATE, pb.AlarmType_CORRUPT)
	taker.Endpoints = source.endpoint + "," + server.endpoint
	_, err = taker.Take(t.Context())
	g.Expect(err).To(MatchError(And(ContainSubstring("has the alarm CORRUPT"), ContainSubstring("etcdctl alarm disarm"))))
	g.Expect(filesIn(g, taker.Dir)).To(ConsistOf(filepath.Base(first.Path)))
	source.raise(t, g, pb.AlarmRequest_DEACTIVATE, pb.AlarmType_CORRUPT)

	source.raise(t, g, pb.AlarmRequest_ACTIVATE, pb.AlarmType_NOSPACE)
	second, err := taker.Take(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect("https://" + second.Member).To(Equal(source.endpoint))
	g.Expect(out.String()).To(ContainSubstring("alarm:NOSPACE: etcd takes no writes until there is room"))
	source.raise(t, g, pb.AlarmRequest_DEACTIVATE, pb.AlarmType_NOSPACE)

	// The second member never starts, so there is no majority.
	_, err = source.client.MemberAdd(t.Context(), []string{"http://" + freeAddress()})
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() error {
		taker.Endpoints = source.endpoint
		_, err := taker.Take(t.Context())
		return err
	}).Should(MatchError(And(ContainSubstring("no endpoint is left"), ContainSubstring("has no leader"))))
	taker.Endpoints = source.endpoint + "," + server.endpoint
	other, err := taker.Take(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect("https://" + other.Member).To(Equal(server.endpoint))
	g.Expect(out.String()).To(And(ContainSubstring("Passed over: etcd at "), ContainSubstring("Kept snapshots of other clusters of etcd than")))
	g.Expect(filesIn(g, taker.Dir)).To(HaveLen(2), "one snapshot of each etcd")
}
