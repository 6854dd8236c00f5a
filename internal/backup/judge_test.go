// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) Stamp { return Stamp{Time: now.Add(-d), By: "Lease ns/x"} }

func TestVerdictOnBackups(t *testing.T) {
	spec := v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 6 * 3600}
	failed := Stamp{Time: now.Add(-time.Minute), By: "Job ns/bad", Note: " (BackoffLimitExceeded): kubectl logs --namespace=ns job/bad"}
	early := failed
	early.Time = now.Add(-10 * time.Hour)
	future := Stamp{Time: now.Add(time.Hour), By: "Lease ns/ahead"}
	for name, c := range map[string]struct {
		found   Found
		status  metav1.ConditionStatus
		reason  string
		message string
		newest  time.Time
		next    time.Time
	}{
		"never read": {
			Found{}, metav1.ConditionUnknown, v1alpha1.ReasonObserving, "The operator has not read the backups of etcd yet", time.Time{}, time.Time{},
		},
		"fresh": {
			Found{At: now, Newest: ago(time.Hour)}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x", now.Add(-time.Hour), now.Add(5 * time.Hour),
		},
		"a moment before the end": {
			Found{At: now, Newest: ago(6*time.Hour - 1)}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x", now.Add(1 - 6*time.Hour), now.Add(1),
		},
		"at the end": {
			Found{At: now, Newest: ago(6 * time.Hour), Advice: "Look: x"}, metav1.ConditionFalse, v1alpha1.ReasonStale,
			"The newest backup of etcd is older than 6 hours, according to Lease ns/x. Look: x", now.Add(-6 * time.Hour), time.Time{},
		},
		"a little ahead": {
			Found{At: now, Newest: ago(-4 * time.Minute)}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x", now.Add(4 * time.Minute), now.Add(6*time.Hour + 4*time.Minute),
		},
		"young, and refuted": {
			Found{At: now, Newest: ago(time.Hour), Refuted: "druid says no", Advice: "Look: x", Problem: "the operator may not read Leases"},
			metav1.ConditionFalse, v1alpha1.ReasonStale,
			"The backups of etcd do not count: druid says no. Look: x. The operator may not read Leases", now.Add(-time.Hour), time.Time{},
		},
		"refuted, without a backup": {
			Found{At: now, Refuted: "druid says no", Absent: "none yet", Advice: "Look: x"}, metav1.ConditionFalse, v1alpha1.ReasonStale,
			"The backups of etcd do not count: druid says no. Look: x", time.Time{}, time.Time{},
		},
		"fresh, and failed later": {
			Found{At: now, Newest: ago(time.Hour), Failed: failed}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x. " +
				"Job ns/bad failed later (BackoffLimitExceeded): kubectl logs --namespace=ns job/bad", now.Add(-time.Hour), now.Add(5 * time.Hour),
		},
		"fresh, and failed before": {
			Found{At: now, Newest: ago(time.Hour), Failed: early}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x", now.Add(-time.Hour), now.Add(5 * time.Hour),
		},
		"stale, and failed later": {
			Found{At: now, Newest: ago(7 * time.Hour), Failed: failed, Advice: "Look: x"}, metav1.ConditionFalse, v1alpha1.ReasonStale,
			"The newest backup of etcd is older than 6 hours, according to Lease ns/x. Look: x. " +
				"Job ns/bad failed later (BackoffLimitExceeded): kubectl logs --namespace=ns job/bad", now.Add(-7 * time.Hour), time.Time{},
		},
		"fresh, and read in part": {
			Found{At: now, Newest: ago(time.Hour), Problem: "the operator may not read Jobs"}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x. The operator may not read Jobs", now.Add(-time.Hour), now.Add(5 * time.Hour),
		},
		"old, and read in part": {
			Found{At: now, Newest: ago(7 * time.Hour), Problem: "the operator may not read Jobs"}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"Whether there is a backup of etcd younger than 6 hours is not known: the operator may not read Jobs", now.Add(-7 * time.Hour), time.Time{},
		},
		"unreadable": {
			Found{At: now, Problem: "the operator may not read Jobs"}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"No backup of etcd is known: the operator may not read Jobs", time.Time{}, time.Time{},
		},
		"unreadable for the moment": {
			Found{At: now, Problem: "no answer", Transient: true}, metav1.ConditionUnknown, v1alpha1.ReasonObserving,
			"No backup of etcd is known: no answer", time.Time{}, time.Time{},
		},
		"absent": {
			Found{At: now, Absent: "there is no Lease"}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"No backup of etcd is known: there is no Lease", time.Time{}, time.Time{},
		},
		"absent, and failed": {
			Found{At: now, Absent: "none has succeeded", Failed: failed}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"No backup of etcd is known: none has succeeded. Job ns/bad failed later (BackoffLimitExceeded): kubectl logs --namespace=ns job/bad",
			time.Time{}, time.Time{},
		},
		"absent, with Velero": {
			Found{At: now, Absent: "there is no Lease", Notes: []string{veleroNote}}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"No backup of etcd is known: there is no Lease. Velero runs in this cluster, but its backups hold objects of the API, " +
				"and are no backup of etcd", time.Time{}, time.Time{},
		},
		"in the future alone": {
			Found{At: now, Future: future, Absent: "none"}, metav1.ConditionUnknown, v1alpha1.ReasonNoBackup,
			"No backup of etcd is known. According to Lease ns/ahead, a backup was made in the future, which does not count: " +
				"check the clock of what writes it", time.Time{}, now.Add(55 * time.Minute),
		},
		"in the future beside a fresh one": {
			Found{At: now, Newest: ago(time.Hour), Future: future}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x. According to Lease ns/ahead, a backup was made in the future, " +
				"which does not count: check the clock of what writes it", now.Add(-time.Hour), now.Add(55 * time.Minute),
		},
		"far in the future beside a fresh one": {
			Found{At: now, Newest: ago(time.Hour), Future: ago(-24 * time.Hour)}, metav1.ConditionTrue, v1alpha1.ReasonFresh,
			"The newest backup of etcd is younger than 6 hours, according to Lease ns/x. According to Lease ns/x, a backup was made in the future, " +
				"which does not count: check the clock of what writes it", now.Add(-time.Hour), now.Add(5 * time.Hour),
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(Judge(spec, c.found, now)).To(Equal(Verdict{Status: c.status, Reason: c.reason, Message: c.message, Newest: c.newest, Next: c.next}))
		})
	}
}

// The verdict changes at its next time, and not before.
func TestVerdictChangesAtItsNextTime(t *testing.T) {
	g := NewWithT(t)
	spec := v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 90}
	found := Found{At: now, Newest: ago(time.Minute)}
	v := Judge(spec, found, now)
	g.Expect(Judge(spec, found, v.Next.Add(-1))).To(Equal(v))
	g.Expect(Judge(spec, found, v.Next).Status).To(Equal(metav1.ConditionFalse))
	g.Expect(Judge(spec, found, v.Next.Add(time.Hour)).Message).To(Equal(Judge(spec, found, v.Next).Message), "the message has no times")
}

// A backup ahead of the clock counts once its time has come, at the verdict's
// next time, even if the source was not read again.
func TestFutureBackupCountsWhenItsTimeHasCome(t *testing.T) {
	g := NewWithT(t)
	spec := v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 3600}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	policy.Annotations = map[string]string{v1alpha1.AnnotationEtcdBackupTime: now.Add(6 * time.Minute).Format(time.RFC3339)}
	found := readAnnotation(policy, now)
	v := Judge(spec, found, now)
	g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(v.Next).To(Equal(now.Add(time.Minute)))
	g.Expect(Judge(spec, found, v.Next.Add(-1))).To(Equal(v))
	for _, at := range []time.Time{v.Next, v.Next.Add(time.Minute)} {
		for _, later := range []Found{found, readAnnotation(policy, at)} {
			counted := Judge(spec, later, at)
			g.Expect([]any{counted.Status, counted.Newest, counted.Next}).To(Equal(
				[]any{metav1.ConditionTrue, now.Add(6 * time.Minute), now.Add(66 * time.Minute)}))
			g.Expect(counted.Message).NotTo(ContainSubstring("future"))
		}
	}
}

func TestMessageIsBoundedAndOneLine(t *testing.T) {
	g := NewWithT(t)
	v := Judge(v1alpha1.EtcdBackupPosture{MaxAgeSeconds: 60}, Found{At: now, Absent: "a\nb\u202e" + strings.Repeat("x", 9999)}, now)
	g.Expect(len(v.Message)).To(BeNumerically("<=", maxMessage))
	g.Expect(v.Message).To(HavePrefix(`No backup of etcd is known: a\nb\u202exx`))
}

func TestTheLatestPlausibleStampCounts(t *testing.T) {
	at := func(d time.Duration) Stamp { return Stamp{Time: now.Add(d), By: d.String()} }
	for name, c := range map[string]struct {
		successes      []Stamp
		failures       []Stamp
		newest, future string
		failed         string
	}{
		"the latest counts, in any order": {successes: []Stamp{at(-3), at(-1), at(-2)}, newest: "-1ns"},
		"of equal times the first":        {successes: []Stamp{{Time: now, By: "a"}, {Time: now, By: "b"}}, newest: "a"},
		"five minutes ahead":              {successes: []Stamp{at(5 * time.Minute)}, newest: "5m0s"},
		"more than five minutes ahead":    {successes: []Stamp{at(-1), at(5*time.Minute + 1), at(time.Hour)}, newest: "-1ns", future: "1h0m0s"},
		"no time":                         {successes: []Stamp{{By: "zero"}, {Time: time.Unix(0, 0), By: "epoch"}, {Time: time.Unix(-5, 0), By: "before"}}},
		"failures":                        {failures: []Stamp{at(-2), at(-1), at(time.Hour), {By: "zero"}}, failed: "-1ns"},
	} {
		t.Run(name, func(t *testing.T) {
			g, found := NewWithT(t), Found{At: now}
			for _, s := range c.successes {
				found.addSuccess(s)
			}
			for _, s := range c.failures {
				found.addFailure(s)
			}
			g.Expect([]string{found.Newest.By, found.Future.By, found.Failed.By}).To(Equal([]string{c.newest, c.future, c.failed}))
		})
	}
}

func TestFormatAge(t *testing.T) {
	for seconds, want := range map[int32]string{60: "1 minute", 90: "90 seconds", 3600: "1 hour", 86400: "1 day", 90000: "25 hours", 5400: "90 minutes"} {
		NewWithT(t).Expect(formatAge(seconds)).To(Equal(want))
	}
}

func TestShellWordsEndNowhere(t *testing.T) {
	g := NewWithT(t)
	g.Expect(shellWord("kube-system")).To(Equal("kube-system"))
	g.Expect(shellWord("app in (a,b)")).To(Equal("'app in (a,b)'"))
	g.Expect(shellWord("$(x)'; rm -rf ~")).To(Equal(`'$(x)'\''; rm -rf ~'`))
	g.Expect(shellWord("")).To(Equal("''"))
	g.Expect(inQuotes("a\"$(x)`y`\\b")).To(Equal("axyb"))
}
