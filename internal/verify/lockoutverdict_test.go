// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// cut returns a flow to a node that a policy cuts.
func cut(flow, policy, to, after string) verify.Cut {
	return verify.Cut{
		Name: flow, AfterWrite: after, Flow: "tcp/10250 from 10.77.0.14 to " + to,
		Decision: verify.Denied, Why: "Deny by rule 1 of GlobalNetworkPolicy " + policy, Cause: policy,
	}
}

func TestWritesThatCutRequiredFlowsAreRefused(t *testing.T) {
	const after = "write of HostEndpoint cpnp-cp-1"
	says := func(flow, policy string) string {
		return flow + ": tcp/10250 from 10.77.0.14 to 10.77.0.11 would be Denied after the " + after + ": Deny by rule 1 of GlobalNetworkPolicy " + policy
	}
	const remedy = ": correct the named policy, or, to write anyway, set the annotation cpnp.dev/allow-lockout to the reason why"
	one := []verify.Cut{cut("metrics", "first.theirs", "10.77.0.11", after)}
	var many []verify.Cut
	for i := range 5 {
		many = append(many,
			cut("metrics", fmt.Sprintf("first.p-%d", i), "10.77.0.11", after), cut("metrics", fmt.Sprintf("first.p-%d", i), "10.77.0.12", after))
	}
	already := []verify.Cut{cut("metrics", "first.theirs", "10.77.0.11", "")}
	unsure := func(after string) verify.Cut {
		c := cut("etcd", "first.unread", "10.77.0.11", after)
		c.Decision = verify.Unknown
		return c
	}
	const unknown = "etcd: it is unknown whether tcp/10250 from 10.77.0.14 to 10.77.0.11 is let through "
	const why = ": Deny by rule 1 of GlobalNetworkPolicy first.unread"
	unjudged := func(message string) verify.Verdict {
		return verify.Verdict{Reason: v1alpha1.ReasonNotJudged, Message: "The operator cannot tell whether required flows would be cut: " + message +
			". Nothing is written: correct the named object, or, to write anyway, set the annotation cpnp.dev/allow-lockout to the reason why"}
	}
	refused := func(message string) verify.Verdict {
		return verify.Verdict{Reason: v1alpha1.ReasonRequiredFlowCut, Message: "Required flows would be cut: " + message + remedy}
	}
	for name, test := range map[string]struct {
		report   verify.LockoutReport
		override string
		want     verify.Verdict
	}{
		"No flow is cut": {want: verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "No required flow is cut"}},
		"No flow is cut, and the annotation would override": {
			override: "maintenance", want: verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "No required flow is cut"},
		},
		"A flow would be cut": {report: verify.LockoutReport{Cuts: one}, want: refused(says("metrics", "first.theirs"))},
		"A blank reason does not override": {
			report: verify.LockoutReport{Cuts: one}, override: " \t\n", want: refused(says("metrics", "first.theirs")),
		},
		"Another flow that the same policy cuts is named too": {
			report: verify.LockoutReport{Cuts: append(one, cut("etcd", "first.theirs", "10.77.0.11", after))},
			want:   refused(says("metrics", "first.theirs") + "; " + says("etcd", "first.theirs")),
		},
		"Three policies are named, each with one example, and the rest is counted": {
			report: verify.LockoutReport{Cuts: many},
			want:   refused(says("metrics", "first.p-0") + "; " + says("metrics", "first.p-1") + "; " + says("metrics", "first.p-2") + "; and 2 more"),
		},
		"A flow would be cut, and the annotation overrides": {
			report: verify.LockoutReport{Cuts: one}, override: " moving to \"b\" ",
			want: verify.Verdict{
				Holds: true, Reason: v1alpha1.ReasonOverridden,
				Message: `Required flows may be cut, and objects are written anyway, because the annotation cpnp.dev/allow-lockout says so ("moving to 'b'"): ` +
					says("metrics", "first.theirs"),
			},
		},
		"A flow is cut already": {
			report: verify.LockoutReport{AlreadyCut: already},
			want: verify.Verdict{
				Holds: true, Reason: v1alpha1.ReasonVerified,
				Message: "Required flows are already cut by objects in the cluster, and not by the writes of this policy: " +
					"metrics: tcp/10250 from 10.77.0.14 to 10.77.0.11 is Denied already: Deny by rule 1 of GlobalNetworkPolicy first.theirs. " +
					"The rollout starts no further node until these flows are open; to start nodes anyway, set the annotation " +
					"cpnp.dev/allow-lockout to the reason why",
			},
		},
		"A flow is cut already, and the annotation overrides": {
			report: verify.LockoutReport{AlreadyCut: already}, override: "maintenance",
			want: verify.Verdict{
				Holds: true, Reason: v1alpha1.ReasonOverridden,
				Message: "Required flows are already cut by objects in the cluster, and nodes are started anyway, because the annotation " +
					`cpnp.dev/allow-lockout says so ("maintenance"): ` +
					"metrics: tcp/10250 from 10.77.0.14 to 10.77.0.11 is Denied already: Deny by rule 1 of GlobalNetworkPolicy first.theirs",
			},
		},
		"A decision would be unknown": {
			report: verify.LockoutReport{Cuts: []verify.Cut{unsure(after)}}, want: unjudged(unknown + "after the " + after + why),
		},
		"A decision is unknown": {
			report: verify.LockoutReport{AlreadyCut: []verify.Cut{unsure("")}}, want: unjudged(unknown + "now" + why),
		},
		"A decision is unknown, and the annotation overrides": {
			report: verify.LockoutReport{AlreadyCut: []verify.Cut{unsure("")}}, override: "tried by hand",
			want: verify.Verdict{
				Holds: true, Reason: v1alpha1.ReasonOverridden,
				Message: "The operator cannot tell whether required flows are cut, and objects are written anyway, because the annotation " +
					`cpnp.dev/allow-lockout says so ("tried by hand"): ` + unknown + "now" + why,
			},
		},
		"A flow would be cut, and another decision is unknown": {
			report: verify.LockoutReport{Cuts: []verify.Cut{unsure(after), one[0]}},
			want:   refused(says("metrics", "first.theirs") + "; " + unknown + "after the " + after + why),
		},
		"A flow is cut already, and another decision is unknown": {
			report: verify.LockoutReport{AlreadyCut: append(already, unsure(""))}, want: unjudged(unknown + "now" + why),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, verify.RequiredFlowsKept(test.report, test.override)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	long := verify.RequiredFlowsKept(verify.LockoutReport{Cuts: one}, strings.Repeat("x", 100_000))
	NewWithT(t).Expect(len(long.Message)).To(BeNumerically("<", 1000))
}
