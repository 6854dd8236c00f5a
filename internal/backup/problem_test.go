// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

func TestEveryErrorIsExplained(t *testing.T) {
	lease := request{source: sourceLease, kind: "Lease", namespace: "ns", name: "x"}
	files := request{source: sourceSnapshotFiles, kind: "ETCDSnapshotFile", group: "k3s.cattle.io"}
	etcd := request{source: sourceEtcdDruid, kind: "Etcd", group: "druid.gardener.cloud", namespace: "ns", name: "main"}
	leases := schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	unserved := apierrors.NewGenericServerResponse(404, "get", leases, "x", "404 page not found", 0, true)
	forbidden := func(user string) error {
		return apierrors.NewForbidden(leases, "x", fmt.Errorf("User %q cannot get resource", user))
	}
	for name, c := range map[string]struct {
		asked request
		err   error
		want  problem
	}{
		"none":                     {asked: lease},
		"no such object":           {asked: lease, err: apierrors.NewNotFound(leases, "x"), want: problem{absent: true}},
		"no such kind, by mapping": {files, &meta.NoKindMatchError{}, problem{text: unservedText("ETCDSnapshotFile (k3s.cattle.io)")}},
		"no such kind, by list":    {files, apierrors.NewNotFound(leases, ""), problem{text: unservedText("ETCDSnapshotFile (k3s.cattle.io)")}},
		"no such kind, by get":     {etcd, unserved, problem{text: unservedText("Etcd (druid.gardener.cloud)")}},
		"no right": {lease, forbidden("system:serviceaccount:a:b"), problem{text: "the operator may not read Lease ns/x. Grant it: " +
			"kubectl create role cpnp-backup-lease --namespace=ns --verb=get --resource=leases.coordination.k8s.io --resource-name=x && " +
			"kubectl create rolebinding cpnp-backup-lease --namespace=ns --role=cpnp-backup-lease --serviceaccount=a:b"}},
		"no right, as a person": {files, forbidden("jane"), problem{text: "the operator may not read ETCDSnapshotFiles. Grant it: " +
			"kubectl create clusterrole cpnp-backup-snapshotfiles --verb=list --resource=etcdsnapshotfiles.k3s.cattle.io && " +
			"kubectl create clusterrolebinding cpnp-backup-snapshotfiles --clusterrole=cpnp-backup-snapshotfiles --serviceaccount=cpnp-system:cpnp-controller-manager"}},
		"too slow": {lease, fmt.Errorf("get: %w", context.DeadlineExceeded), problem{
			transient: true, text: "the API server did not show Lease ns/x within 5s. The operator tries again",
		}},
		"anything else": {files, errors.New("boom\nboom"), problem{
			transient: true, text: `ETCDSnapshotFiles could not be read: boom\nboom. The operator tries again`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(explainError(c.asked, c.err)).To(Equal(c.want))
		})
	}
}

func unservedText(kind string) string {
	return "the cluster does not serve " + kind + ". Declare a source that the cluster has: kubectl explain cpnp.spec.posture.etcdBackup.source"
}

// Names from a hostile policy stay single words of a command that somebody pastes.
func TestHostileNamesAreQuotedInCommands(t *testing.T) {
	g := NewWithT(t)
	asked := request{source: sourceLease, kind: "Lease", namespace: "$(reboot)", name: "x; reboot"}
	text := explainError(asked, apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("no"))).text
	g.Expect(text).To(ContainSubstring(`--namespace='$(reboot)' `))
	g.Expect(text).To(ContainSubstring(`--resource-name='x; reboot'`))
	name := v1alpha1.NamespacedName{Namespace: "$(reboot)", Name: "`reboot`"}
	g.Expect(stampCommand(name)).To(HavePrefix("kubectl patch lease '`reboot`' --namespace='$(reboot)' "))
	g.Expect(createLeaseCommand(name)).NotTo(Or(ContainSubstring("$(reboot)"), ContainSubstring("`")))
}

// slow returns the deadline of a read.
type slow struct {
	client.Reader
	left time.Duration
}

func (s *slow) List(ctx context.Context, _ client.ObjectList, _ ...client.ListOption) error {
	deadline, _ := ctx.Deadline()
	s.left = time.Until(deadline)
	return context.DeadlineExceeded
}

func TestReadIsBounded(t *testing.T) {
	g := NewWithT(t)
	reader := &slow{}
	found := Look(t.Context(), reader, policyWith(v1alpha1.BackupSource{SnapshotFiles: &v1alpha1.SnapshotFileBackups{}}))
	g.Expect(reader.left).To(BeNumerically("~", timing.BackupRead, time.Second))
	g.Expect(found.Transient).To(BeTrue())
	v := Judge(v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 60}, found, now)
	g.Expect([]any{v.Status, v.Reason}).To(Equal([]any{metav1.ConditionUnknown, v1alpha1.ReasonObserving}))
}

func TestInvalidSelectorIsReported(t *testing.T) {
	g := NewWithT(t)
	for _, labels := range []map[string]v1alpha1.LabelValue{nil, {"not a key": "x"}} {
		source := v1alpha1.BackupSource{Jobs: v1alpha1.JobBackups{Namespace: "ns", Selector: v1alpha1.LabelSelector{MatchLabels: labels}}}
		found := Look(t.Context(), &slow{}, policyWith(source))
		g.Expect(found.Problem).To(ContainSubstring("selector"))
	}
}
