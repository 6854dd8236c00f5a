// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
)

// spoil puts a foreign text into every part of an input that others can write.
func spoil(in *report.Input, text string) {
	if in.Policy.Intent() == intent.RollBack {
		in.Policy.Annotations[v1alpha1.AnnotationRevert] = "x" + text
	}
	if in.Policy.Invalid != nil {
		in.Policy.Invalid = errors.New(text)
	}
	in.Verified.Message += text
	in.Effective.Message += text
	for i := range in.Losses {
		in.Losses[i].What, in.Losses[i].Winner = text, text
	}
	for _, list := range [][]string{in.ForeignNames, in.Remaining, in.History.Failures, in.Rollout.ForbiddenConnections} {
		for i := range list {
			list[i] += text
		}
	}
	for _, findings := range [][]drift.Finding{
		in.Network.Findings, in.Hosts.Findings, in.Taints.Findings, in.Services.Findings, in.History.Contested,
	} {
		for i := range findings {
			f := &findings[i]
			f.Field, f.Expected, f.Actual, f.By.Name = f.Field+text, text, text, text
		}
	}
	for i := range in.Rollout.Enactments {
		conditions := in.Rollout.Enactments[i].Status.Conditions
		for j := range conditions {
			conditions[j].Message += text
		}
	}
	if in.HostObstacle != nil {
		in.HostObstacle = &backend.Obstacle{Reason: in.HostObstacle.Reason, Message: text}
	}
	in.Profile = &v1alpha1.ResolvedProfile{DistributionReason: text, CNIReason: text}
	last := drift.Finding{Object: drift.Object{Kind: "Service", Name: "x"}, Field: text, Expected: text, Actual: text, Message: text}
	last.By.Name = text
	in.History.Last, in.History.LastTime, in.History.Count = &last, now.Time, 2
}

// FuzzTextOfOthers: whatever others write, a report shows it as one line of visible characters, of bounded length.
func FuzzTextOfOthers(f *testing.F) {
	for _, seed := range []string{
		"\n\x1b[2J\u202e", "\u200b\u2066\ufeff", "\xff\u2028\r", strings.Repeat("\x00", 5000), strings.Repeat("\U000e0041", 3000), "plain",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, edits := range scenarios {
			in := input(edits...)
			before := in.Policy.Status.Conditions
			spoil(&in, text)
			status := report.StatusOf(in)
			checkTexts(t, name, status)
			for _, c := range status.Conditions {
				checkLength(t, name+" "+c.Type, c.Message, 2048)
			}
			for _, e := range report.ConditionEvents(before, status.Conditions, in.History) {
				checkText(t, name+" event", e.Note)
				checkLength(t, name+" event", e.Note, 1024)
			}
			for i := range in.Rollout.Enactments {
				for _, c := range in.Rollout.Enactments[i].Status.Conditions {
					note := report.PhaseEvent(&in.Rollout.Enactments[i], c.Type).Note
					checkText(t, name+" phase", note)
					checkLength(t, name+" phase", note, 1024)
				}
			}
			checkTexts(t, name+" unknown", report.UnknownStatus(in.Policy, errors.New(text), metav1.Now()))
		}
		left := drift.Finding{Object: drift.Object{Kind: "Service", Name: "x"}, Field: text, Actual: text, By: drift.Manager{Name: text}}
		left.Expected, left.Message = text, text
		told := []drift.Finding{left}
		for _, e := range report.ReleaseEvents(drift.Releases{Restored: 1, Last: left, Kept: told, NotRestored: told, Replaced: told}) {
			checkText(t, "released", e.Note)
			checkLength(t, "released", e.Note, 1024)
		}
	})
}

// checkTexts checks every string of a status.
func checkTexts(t *testing.T, where string, status v1alpha1.ControlPlaneNetworkPolicyStatus) {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case string:
			checkText(t, path, value)
		case []any:
			for _, item := range value {
				walk(path+"[]", item)
			}
		case map[string]any:
			for key, item := range value {
				walk(path+"."+key, item)
			}
		}
	}
	walk(where, object)
}

func checkText(t *testing.T, where, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector)
	}) {
		t.Errorf("%s has invisible characters: %q", where, text)
	}
}

func checkLength(t *testing.T, where, text string, most int) {
	t.Helper()
	if len(text) > most {
		t.Errorf("%s has %d bytes instead of %d at most", where, len(text), most)
	}
}

func TestForeignTextCannotPassForTheOperatorsWords(t *testing.T) {
	g := NewWithT(t)
	forged := finding("Service", "web", "externalTrafficPolicy", v1alpha1.StateDrifted)
	forged.By.Name = "kubectl. All is well"
	g.Expect(forged.String()).To(HaveSuffix(`, set by "kubectl. All is well"`))
	forged.By.Name = "kubectl-edit"
	g.Expect(forged.String()).To(HaveSuffix(", set by kubectl-edit"))
}
