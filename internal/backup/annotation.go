// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"fmt"
	"strings"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// readAnnotation reads the annotation of the policy, which is in memory already.
func readAnnotation(policy *v1alpha1.ControlPlaneNetworkPolicy, now time.Time) Found {
	command := fmt.Sprintf("kubectl annotate cpnp %s --overwrite %s=$(date -u +%%FT%%TZ)",
		shellWord(policy.Name), v1alpha1.AnnotationEtcdBackupTime)
	found := Found{At: now, Advice: "Take one, and then stamp it: " + command}
	by := "annotation " + v1alpha1.AnnotationEtcdBackupTime
	value, is := policy.Annotations[v1alpha1.AnnotationEtcdBackupTime]
	at, valid := parseTime(strings.TrimSpace(value))
	switch {
	case !is:
		found.Absent = fmt.Sprintf("the policy has no %s. Set it after every backup: %s", by, command)
	case !valid:
		found.Absent = fmt.Sprintf("the %s has the value %s, which is no time in the form of RFC 3339, such as 2026-01-02T03:04:05Z. "+
			"Set it after every backup: %s", by, wording.QuoteText(value, 64), command)
	default:
		found.addSuccess(Stamp{Time: at, By: by})
	}
	return found
}

// parseTime returns a time that others wrote. A time before 1970 is the zero value of some
// program.
func parseTime(value string) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339, value) // fractions of a second are accepted, too
	return at, err == nil && at.Unix() > 0
}
