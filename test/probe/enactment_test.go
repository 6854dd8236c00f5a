// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
)

// The operator's writes of an enactment have the decided result, also for removals: of a
// target, of a result in the baseline, of a confirmation for another phase. Observers'
// results stay, except for observers that are gone, and a decision on a stale enactment is
// refused.
func TestEnactmentIsWrittenAsDecided(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	e := &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: "decided.cp-1", Labels: map[string]string{v1alpha1.LabelPolicy: "decided"}},
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "decided", Node: "cp-1", ProbeRound: ptr.To(int64(1)), Targets: []v1alpha1.ProbeTarget{
			{Address: "192.0.2.1", Port: 1, Protocol: v1alpha1.ProbeTCP}, {Address: "192.0.2.1", Port: 2, Protocol: v1alpha1.ProbeTLS},
		}},
	}
	now := metav1.Now().Rfc3339Copy()
	e.Status.Ruleset, e.Status.PolicyGeneration = "v1", 1
	e.Status.Baseline = []v1alpha1.Observation{{Name: "cp-2", ProbeRound: 1, Time: &now}, {Name: "cp-3", ProbeRound: 1, Time: &now}}
	read := func() *v1alpha1.ControlPlaneNodeEnactment {
		live := &v1alpha1.ControlPlaneNodeEnactment{}
		g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(e), live)).To(Succeed())
		return live
	}
	g.Expect(apply.WriteEnactment(ctx, admin, e, nil)).To(Succeed())
	t.Cleanup(func() { _ = admin.Delete(context.Background(), e) })
	first := read()
	g.Expect(first.Spec).To(Equal(e.Spec))
	g.Expect(first.Labels).To(Equal(e.Labels))
	g.Expect(first.Status.Baseline).To(HaveLen(2))
	for _, name := range []string{"cp-2", "gone"} {
		status := map[string]any{"observers": []any{observerItem(name)}}
		g.Expect(applyStatus(ctx, admin, probe.FieldManager(name), e.Name, status)).To(Succeed())
	}
	confirmed := read()
	confirmed.Annotations = map[string]string{v1alpha1.AnnotationConfirm: "1", "else": "stays"}
	g.Expect(admin.Update(ctx, confirmed)).To(Succeed())

	decided := read()
	decided.Annotations = map[string]string{"else": "stays"}
	decided.Spec.Targets, decided.Spec.ProbeRound = decided.Spec.Targets[:1], ptr.To(int64(2))
	decided.Status.Baseline, decided.Status.PreviousRuleset, decided.Status.Ruleset = decided.Status.Baseline[1:], "v1", "v2"
	g.Expect(apierrors.IsConflict(apply.WriteEnactment(ctx, admin, decided, first))).To(BeTrue(), "a decision on a stale enactment was written")
	g.Expect(apply.WriteEnactment(ctx, admin, decided, read())).To(Succeed())
	second := read()
	g.Expect(second.Spec).To(Equal(decided.Spec))
	g.Expect(second.Annotations).To(Equal(map[string]string{"else": "stays"}))
	g.Expect(second.Status).To(Equal(decided.Status))
	g.Expect(second.Status.Observers).To(HaveLen(2))

	g.Expect(apply.WriteObservers(ctx, admin, second, second.Status.Observers[:1])).To(Succeed())
	g.Expect(read().Status.Observers).To(Equal(second.Status.Observers[:1]))
}
