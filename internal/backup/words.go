// SPDX-License-Identifier: Apache-2.0

package backup

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// plain are the characters without a special meaning to a shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:,="

// shellWord returns text as a single word of a command that people paste into a shell: names
// come from objects, and may contain any characters.
func shellWord(text string) string {
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(wording.EscapeHidden(text), "'", `'\''`) + "'"
}

// inQuotes returns text as a part of JSON between double quotes of a shell. Names of objects
// have none of the characters that are left out.
func inQuotes(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(plain, r) {
			return r
		}
		return -1
	}, text)
}

// timeOf returns a time that may be missing.
func timeOf(at *metav1.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	return at.Time
}

// formatAge returns a number of seconds in the largest unit without a remainder.
func formatAge(seconds int32) string {
	for _, unit := range []struct {
		seconds int32
		noun    string
	}{{24 * 60 * 60, "day"}, {60 * 60, "hour"}, {60, "minute"}} {
		if seconds%unit.seconds == 0 {
			return wording.CountOf(seconds/unit.seconds, unit.noun)
		}
	}
	return wording.CountOf(seconds, "second")
}

// upperFirst begins a sentence.
func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%s%s", strings.ToUpper(text[:1]), text[1:])
}
