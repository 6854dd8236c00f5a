// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Verdict is the condition BackupFresh, with further results about the backups.
type Verdict struct {
	Status          metav1.ConditionStatus
	Reason, Message string
	// Newest is the time of the newest backup; zero if none is known.
	Newest time.Time
	// Next is when the verdict changes by the passing of time alone; zero if it does not.
	Next time.Time
}

// maxMessage is the maximum length in bytes of a message.
const maxMessage = 1536

// Judge compares the findings with the declaration of a policy. The message has no times,
// so the message changes only with the verdict or with the backup.
func Judge(spec v1alpha1.EtcdBackupPosture, found Found, now time.Time) Verdict {
	found = found.settled(now)
	v := judgeSettled(spec, found, now)
	if from := found.countsFrom(); found.Future.exists() && (v.Next.IsZero() || from.Before(v.Next)) {
		v.Next = from
	}
	return v
}

// judgeSettled is Judge without the moment at which a backup ahead of the clock counts.
func judgeSettled(spec v1alpha1.EtcdBackupPosture, found Found, now time.Time) Verdict {
	newest := found.Newest
	switch {
	case found.Refuted != "":
		return Verdict{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStale, Newest: newest.Time,
			Message: compose(fmt.Sprintf("The backups of etcd do not count: %s. %s", found.Refuted, found.Advice), found, found.Problem),
		}
	case !newest.exists():
		return judgeAbsence(found)
	}
	maxAge, limit := time.Duration(spec.MaxAgeSeconds)*time.Second, formatAge(spec.MaxAgeSeconds)
	end := newest.Time.Add(maxAge)
	v := Verdict{Newest: newest.Time}
	switch {
	case now.Before(end):
		v.Status, v.Reason, v.Next = metav1.ConditionTrue, v1alpha1.ReasonFresh, end
		v.Message = compose(fmt.Sprintf("The newest backup of etcd is younger than %s, according to %s", limit, newest.By), found, found.Problem)
	case found.Problem != "":
		v.Status, v.Reason = metav1.ConditionUnknown, reasonOfProblem(found)
		v.Message = compose(fmt.Sprintf("Whether there is a backup of etcd younger than %s is not known: %s", limit, found.Problem), found)
	default:
		v.Status, v.Reason = metav1.ConditionFalse, v1alpha1.ReasonStale
		v.Message = compose(fmt.Sprintf("The newest backup of etcd is older than %s, according to %s. %s",
			limit, newest.By, found.Advice), found)
	}
	return v
}

// judgeAbsence returns the verdict without a backup.
func judgeAbsence(found Found) Verdict {
	v := Verdict{Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNoBackup}
	switch {
	case found.At.IsZero():
		v.Reason, v.Message = v1alpha1.ReasonObserving, "The operator has not read the backups of etcd yet"
	case found.Problem != "":
		v.Reason = reasonOfProblem(found)
		v.Message = compose("No backup of etcd is known: "+found.Problem, found)
	case found.Future.exists():
		v.Message = compose("No backup of etcd is known", found)
	default:
		v.Message = compose("No backup of etcd is known: "+found.Absent, found)
	}
	return v
}

// reasonOfProblem returns Observing if the problem ends without a person, and NoBackup
// otherwise.
func reasonOfProblem(found Found) string {
	if found.Transient {
		return v1alpha1.ReasonObserving
	}
	return v1alpha1.ReasonNoBackup
}

// compose appends to a sentence what else has to be told, and further sentences.
func compose(sentence string, found Found, more ...string) string {
	sentences := []string{sentence}
	if found.Failed.Time.After(found.Newest.Time) {
		sentences = append(sentences, found.Failed.By+" failed later"+found.Failed.Note)
	}
	if found.Future.exists() {
		sentences = append(sentences, fmt.Sprintf("according to %s, a backup was made in the future, which does not count: "+
			"check the clock of what writes it", found.Future.By))
	}
	sentences = append(sentences, found.Notes...)
	var all []string
	for _, text := range append(sentences, more...) {
		if text != "" {
			all = append(all, upperFirst(text))
		}
	}
	return wording.OneLine(strings.Join(all, ". "), maxMessage)
}
