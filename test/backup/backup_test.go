// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gstruct"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// deadline is how long the API server may take to apply a new right or kind.
const deadline, interval = 20 * time.Second, 100 * time.Millisecond

// story is one test with the operator's reader.
type story struct {
	*WithT
	t      *testing.T
	reader client.Client
}

func beginStory(t *testing.T) story {
	t.Helper()
	g := NewWithT(t)
	reader, err := newReader(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	return story{g, t, reader}
}

// judge returns a function that reads a source, and judges it with a maximum age of one hour.
func (s story) judge(source v1alpha1.BackupSource) func() backup.Verdict {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "plane"}}
	policy.Spec.Posture = &v1alpha1.PostureSpec{EtcdBackup: v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 3600, Source: source}}
	return func() backup.Verdict {
		return backup.Judge(policy.Spec.Posture.EtcdBackup, backup.Look(s.t.Context(), s.reader, policy), time.Now())
	}
}

// expect waits for a verdict with a part of its message.
func (s story) expect(judge func() backup.Verdict, status metav1.ConditionStatus, reason, message string) backup.Verdict {
	s.t.Helper()
	var last backup.Verdict
	s.Eventually(func() backup.Verdict { last = judge(); return last }, deadline, interval).Should(gstruct.MatchFields(gstruct.IgnoreExtras, gstruct.Fields{
		"Status": Equal(status), "Reason": Equal(reason), "Message": ContainSubstring(message),
	}))
	s.t.Logf("%s/%s: %s", last.Status, last.Reason, last.Message)
	return last
}

// paste runs the command in a message, as a cluster administrator would. The
// command is the part of the message after a mark.
func (s story) paste(message, after string) {
	s.t.Helper()
	_, command, found := strings.Cut(message, after)
	s.Expect(found).To(BeTrue(), message)
	kubectl := cluster.Kubectl(s.t.Context())
	shell := exec.CommandContext(s.t.Context(), "sh", "-ec", "kubectl() { '"+strings.Join(kubectl.Args, "' '")+"' \"$@\"; }\n"+command)
	shell.Env = kubectl.Env
	out, err := shell.CombinedOutput()
	s.Expect(err).NotTo(HaveOccurred(), "%s\n%s", command, out)
}

// create creates an object from YAML, with its status. TIME-n stands for n minutes ago.
func (s story) create(text string) {
	s.t.Helper()
	text = regexp.MustCompile(`TIME([+-]\d+)`).ReplaceAllStringFunc(text, func(mark string) string {
		var minutes int
		_, err := fmt.Sscanf(mark, "TIME%d", &minutes)
		s.Expect(err).NotTo(HaveOccurred())
		return time.Now().Add(time.Duration(minutes) * time.Minute).UTC().Format("2006-01-02T15:04:05Z")
	})
	object := &unstructured.Unstructured{}
	s.Expect(yaml.Unmarshal([]byte(text), &object.Object)).To(Succeed())
	status, hasStatus := object.Object["status"]
	s.Eventually(func() error { return admin.Create(s.t.Context(), object) }, deadline, interval).Should(Succeed(), text)
	s.t.Cleanup(func() {
		_ = admin.Delete(context.Background(), object, client.PropagationPolicy(metav1.DeletePropagationBackground))
	})
	if hasStatus {
		object.Object["status"] = status
		s.Expect(admin.Status().Update(s.t.Context(), object)).To(Succeed(), text)
	}
}

// install installs foreign kinds, from the part of testdata for a group.
func (s story) install(group string) {
	s.t.Helper()
	text, err := os.ReadFile("testdata/foreign.yaml")
	s.Expect(err).NotTo(HaveOccurred())
	for _, document := range strings.Split(string(text), "\n---\n") {
		if strings.Contains(document, "group: "+group) {
			s.create(document)
			return
		}
	}
	s.t.Fatal("no kind of " + group)
}

// used returns the rights that the operator's requests since a mark needed.
func (s story) used(mark testbed.Mark) []string {
	s.t.Helper()
	logged, err := cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	granted := slices.DeleteFunc(logged, func(e testbed.AuditEvent) bool { return e.Code == 403 })
	return testbed.RightsUsed(granted, account)
}

// needed returns the rights of a source, in the form of testbed.RightsUsed.
func needed(source string) []string {
	var rights []string
	for _, right := range backup.Rights()[source] {
		rights = append(rights, right.Verb+" "+right.Group+"/"+right.Resource)
	}
	return rights
}

func (s story) mark() testbed.Mark {
	s.t.Helper()
	mark, err := cluster.Audit().Mark()
	s.Expect(err).NotTo(HaveOccurred())
	return mark
}

const jobTemplate = `{metadata: {labels: {made: by-cron}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}`

func cronJob(name, metadata, status string) string {
	return fmt.Sprintf(`{apiVersion: batch/v1, kind: CronJob, metadata: {namespace: backups, name: %s, %s},
  spec: {schedule: "0 0 * * *", jobTemplate: %s}, status: {%s}}`, name, metadata, jobTemplate, status)
}

func job(name, metadata, status string) string {
	return fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {namespace: backups, name: %s, %s},
  spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}, status: {%s}}`, name, metadata, status)
}

func labelled(app string) string { return "labels: {app: " + app + "}" }

const complete = "startTime: 'TIME-300', completionTime: '%s', conditions: [" +
	"{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True', lastTransitionTime: '%s'}]"

const failedStatus = "startTime: 'TIME-300', conditions: [" +
	"{type: FailureTarget, status: 'True', reason: BackoffLimitExceeded, message: m, lastTransitionTime: '%s'}, " +
	"{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: m, lastTransitionTime: '%s'}]"

func completeAt(at string) string { return fmt.Sprintf(complete, at, at) }

func failedAt(at string) string { return fmt.Sprintf(failedStatus, at, at) }

func TestJobs(t *testing.T) {
	s := beginStory(t)
	mark := s.mark()
	judge := s.judge(v1alpha1.BackupSource{Jobs: v1alpha1.JobBackups{
		Namespace: namespace, Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "etcd-backup"}},
	}})
	v := s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "the operator may not read CronJobs in namespace backups. Grant it: ")
	s.paste(v.Message, "Grant it: ")
	v = s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "namespace backups has no CronJob or Job with these labels")
	s.paste(v.Message, "Compare the labels: ")

	s.create(job("other", labelled("something"), completeAt("TIME-1")))
	s.create(job("old", labelled("etcd-backup"), completeAt("TIME-120")))
	s.expect(judge, metav1.ConditionFalse, v1alpha1.ReasonStale, "older than 1 hour, according to Job backups/old")
	s.create(job("new", labelled("etcd-backup"), completeAt("TIME-30")))
	v = s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "younger than 1 hour, according to Job backups/new")
	s.Expect(v.Next).To(BeTemporally("~", time.Now().Add(30*time.Minute), time.Minute))
	s.create(job("bad", labelled("etcd-backup"), failedAt("TIME-10")))
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "Job backups/bad failed later (BackoffLimitExceeded): kubectl logs --namespace=backups job/bad")
	s.Expect(s.used(mark)).To(ConsistOf(needed("jobs")))
}

func TestCronJobs(t *testing.T) {
	s := beginStory(t)
	judge := s.judge(v1alpha1.BackupSource{Jobs: v1alpha1.JobBackups{
		Namespace: namespace, Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "cron-backup"}},
	}})
	s.create(cronJob("nightly", labelled("cron-backup"), ""))
	v := s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "none of the 1 selected CronJobs and Jobs in namespace backups has succeeded yet")
	s.paste(v.Message, "Look: ")
	s.create(cronJob("hourly", labelled("cron-backup"), "lastScheduleTime: 'TIME-20', lastSuccessfulTime: 'TIME-20'"))
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to CronJob backups/hourly")

	// The CronJob's Jobs do not have its label.
	hourly := &unstructured.Unstructured{}
	hourly.SetAPIVersion("batch/v1")
	hourly.SetKind("CronJob")
	s.Expect(admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "hourly"}, hourly)).To(Succeed())
	owner := fmt.Sprintf("labels: {made: by-cron}, ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: hourly, uid: %s, controller: true}]", hourly.GetUID())
	s.create(job("hourly-2", owner, failedAt("TIME-5")))
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "Job backups/hourly-2 failed later")

	s.Expect(admin.Patch(t.Context(), hourly, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":true}}`)))).To(Succeed())
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "CronJob backups/hourly is suspended")
}

// Thousands of Jobs are read page by page, in bounded time.
func TestManyJobs(t *testing.T) {
	s := beginStory(t)
	judge := s.judge(v1alpha1.BackupSource{Jobs: v1alpha1.JobBackups{
		Namespace: namespace, Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "many"}},
	}})
	mark := s.mark()
	for i := range 230 {
		s.create(job(fmt.Sprintf("many-%d", i), labelled("many"), completeAt(fmt.Sprintf("TIME-%d", 30+i))))
	}
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Job backups/many-0")
	logged, err := cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	pages := 0
	for _, e := range logged {
		if e.User == account && e.Resource == "jobs" && e.Verb == "list" {
			pages++
		}
	}
	s.Expect(pages).To(BeNumerically(">=", 3))
}

func TestLease(t *testing.T) {
	s := beginStory(t)
	mark := s.mark()
	judge := s.judge(v1alpha1.BackupSource{Lease: v1alpha1.NamespacedName{Namespace: namespace, Name: "etcd"}})
	v := s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "the operator may not read Lease backups/etcd. Grant it: ")
	s.paste(v.Message, "Grant it: ")
	v = s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "there is no Lease backups/etcd. Create it after the first backup: ")
	s.paste(v.Message, "Create it after the first backup: ")
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease backups/etcd")

	s.create(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: backups, name: other}}`)
	s.Expect(s.judge(v1alpha1.BackupSource{Lease: v1alpha1.NamespacedName{Namespace: namespace, Name: "other"}})().Message).To(
		ContainSubstring("may not read Lease backups/other"), "the right is to one Lease")

	lease := &unstructured.Unstructured{}
	lease.SetAPIVersion("coordination.k8s.io/v1")
	lease.SetKind("Lease")
	lease.SetNamespace(namespace)
	lease.SetName("etcd")
	patch := func(renewTime string) {
		s.Expect(admin.Patch(t.Context(), lease, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"renewTime":`+renewTime+`}}`)))).To(Succeed())
	}
	patch("null")
	v = s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "Lease backups/etcd has no spec.renewTime")
	s.paste(v.Message, "a script of your own sets it after each backup: ")
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease backups/etcd")
	patch(`"2020-01-01T00:00:00.000000Z"`)
	v = s.expect(judge, metav1.ConditionFalse, v1alpha1.ReasonStale, "older than 1 hour")
	s.paste(v.Message, "A script of your own stamps it after each backup: ")
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease backups/etcd")
	patch(`"2090-01-01T00:00:00.000000Z"`)
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "was made in the future, which does not count")
	s.Expect(s.used(mark)).To(ConsistOf(needed("lease")))
}

func TestEtcdDruid(t *testing.T) {
	s := beginStory(t)
	mark := s.mark()
	judge := s.judge(v1alpha1.BackupSource{EtcdDruid: v1alpha1.NamespacedName{Namespace: namespace, Name: "main"}})
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "the cluster does not serve Etcd (druid.gardener.cloud)")
	s.install("druid.gardener.cloud")
	v := s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "the operator may not read Etcd backups/main. Grant it: ")
	s.paste(v.Message, "Grant it: ")
	v = s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "there is no Etcd backups/main")
	s.paste(v.Message, "Look: ")

	s.create(`{apiVersion: druid.gardener.cloud/v1alpha1, kind: Etcd, metadata: {namespace: backups, name: main},
  spec: {backup: {store: {provider: S3}}},
  status: {conditions: [{type: Ready, status: "True"}, {type: BackupReady, status: "False", reason: BackupFailed, message: Stale snapshot leases}]}}`)
	const failing = `BackupReady is False (BackupFailed): "Stale snapshot leases"`
	s.expect(judge, metav1.ConditionFalse, v1alpha1.ReasonStale, failing)
	etcd := &unstructured.Unstructured{}
	etcd.SetAPIVersion("druid.gardener.cloud/v1alpha1")
	etcd.SetKind("Etcd")
	etcd.SetNamespace(namespace)
	etcd.SetName("main")
	patched := func(text string) client.Patch { return client.RawPatch("application/merge-patch+json", []byte(text)) }
	report := func(status string) {
		s.Expect(admin.Status().Patch(t.Context(), etcd, patched(`{"status": {"conditions": [{"type": "BackupReady", "status": "`+status+
			`", "reason": "BackupFailed", "message": "Stale snapshot leases"}]}}`))).To(Succeed())
	}
	report("True")
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "no Lease of the snapshots of Etcd backups/main has been renewed yet")
	s.create(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: backups, name: main-full-snap}, spec: {renewTime: "2020-01-01T00:00:00.000000Z"}}`)
	s.expect(judge, metav1.ConditionFalse, v1alpha1.ReasonStale, "according to Lease backups/main-full-snap")
	s.create(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: backups, name: main-delta-snap}, spec: {renewTime: "` +
		time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") + `"}}`)
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease backups/main-delta-snap")
	report("Unknown")
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to Lease backups/main-delta-snap. Etcd-druid reports that BackupReady is Unknown")
	report("False")
	s.expect(judge, metav1.ConditionFalse, v1alpha1.ReasonStale, failing)
	report("True")
	s.Expect(admin.Patch(t.Context(), etcd, patched(`{"spec": {"backup": {"store": null}}}`))).To(Succeed())
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "Etcd backups/main has no spec.backup.store")
	s.Expect(s.used(mark)).To(ConsistOf(needed("etcdDruid")))
}

func TestSnapshotFilesAndVelero(t *testing.T) {
	s := beginStory(t)
	mark := s.mark()
	judge := s.judge(v1alpha1.BackupSource{SnapshotFiles: &v1alpha1.SnapshotFileBackups{Location: v1alpha1.SnapshotAny}})
	inS3 := s.judge(v1alpha1.BackupSource{SnapshotFiles: &v1alpha1.SnapshotFileBackups{Location: v1alpha1.SnapshotS3}})
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "the cluster does not serve ETCDSnapshotFile (k3s.cattle.io)")
	s.install("velero.io")
	s.install("k3s.cattle.io")
	v := s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "the operator may not read ETCDSnapshotFiles. Grant it: ")
	s.Expect(v.Message).To(ContainSubstring("Velero runs in this cluster"))
	s.paste(strings.Split(v.Message, ". Velero")[0], "Grant it: ")
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
		"there is no ETCDSnapshotFile. Take a snapshot on a server: sudo rke2 etcd-snapshot save, or with k3s: sudo k3s etcd-snapshot save. "+
			"Velero runs in this cluster, but its backups hold objects of the API, and are no backup of etcd")

	s.create(`{apiVersion: k3s.cattle.io/v1, kind: ETCDSnapshotFile, metadata: {name: broken}, spec: {snapshotName: broken, nodeName: n, location: "file:///x"},
  status: {readyToUse: false, error: {time: 'TIME-2', message: disk full}}}`)
	s.expect(judge, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, `ETCDSnapshotFile broken failed later: "disk full"`)
	s.create(`{apiVersion: k3s.cattle.io/v1, kind: ETCDSnapshotFile, metadata: {name: local}, spec: {snapshotName: local, nodeName: n, location: "file:///x"},
  status: {readyToUse: true, creationTime: 'TIME-5'}}`)
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to ETCDSnapshotFile local")
	s.expect(inS3, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup, "none of 2 ETCDSnapshotFiles is in S3")
	s.create(`{apiVersion: k3s.cattle.io/v1, kind: ETCDSnapshotFile, metadata: {name: far}, spec: {snapshotName: far, nodeName: n, location: "s3://b/x", s3: {bucket: b}},
  status: {readyToUse: true, creationTime: 'TIME-100'}}`)
	s.expect(inS3, metav1.ConditionFalse, v1alpha1.ReasonStale, "according to ETCDSnapshotFile far")
	s.expect(judge, metav1.ConditionTrue, v1alpha1.ReasonFresh, "according to ETCDSnapshotFile local")
	s.Expect(s.used(mark)).To(ConsistOf(needed("snapshotFiles")))
}
