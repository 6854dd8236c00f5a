// SPDX-License-Identifier: Apache-2.0

package posture_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
)

// A second address at which something answers that is not judged makes the verdict unknown. An
// address without an answer does not.
func TestSecondAddressThatAnswersIsJudged(t *testing.T) {
	for outcome, want := range map[v1alpha1.TLSOutcome]metav1.ConditionStatus{
		v1alpha1.TLSNotTLS: metav1.ConditionUnknown, v1alpha1.TLSSilent: metav1.ConditionUnknown, v1alpha1.TLSNotFinished: metav1.ConditionUnknown,
		v1alpha1.TLSDropped: metav1.ConditionTrue, v1alpha1.TLSRefused: metav1.ConditionTrue,
	} {
		t.Run(string(outcome), func(t *testing.T) {
			g := NewWithT(t)
			o := observed("cp-1")
			o.Results = append(o.Results, v1alpha1.TLSResult{Address: second, Port: 6443, Outcome: outcome, Problem: "no TLS"})
			in := input(o)
			in.Plan.Nodes[0].Targets = append(slices.Clone(targets),
				v1alpha1.TLSTarget{Address: second, Port: 6443, Component: v1alpha1.PostureAPIServer})
			in.Postures[0].Spec.Targets = in.Plan.Nodes[0].Targets
			g.Expect(posture.JudgeTLS(in).Status).To(Equal(want))
		})
	}
}
