// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

func TestPodsThatATaintWouldEvict(t *testing.T) {
	tolerates := func(tolerations ...corev1.Toleration) corev1.Pod {
		return corev1.Pod{Spec: corev1.PodSpec{Tolerations: tolerations}}
	}
	mirror := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}}}
	deleting := corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}}
	phase := func(phase corev1.PodPhase) corev1.Pod { return corev1.Pod{Status: corev1.PodStatus{Phase: phase}} }
	dedicated := corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpEqual, Value: "cp", Effect: corev1.TaintEffectNoExecute}
	otherValue, otherEffect, forAnHour := dedicated, dedicated, dedicated
	otherValue.Value, otherEffect.Effect = "db", corev1.TaintEffectNoSchedule
	forAnHour.TolerationSeconds = ptr.To[int64](3600)

	tests := map[string]struct {
		pod  corev1.Pod
		want int
	}{
		"A pod that tolerates nothing is evicted":                                  {phase(corev1.PodRunning), 1},
		"A pod that waits to start is evicted":                                     {phase(corev1.PodPending), 1},
		"A pod that has succeeded is not evicted":                                  {phase(corev1.PodSucceeded), 0},
		"A pod that has failed is not evicted":                                     {phase(corev1.PodFailed), 0},
		"A pod that is being deleted is not evicted":                               {deleting, 0},
		"A static pod's mirror is not evicted":                                     {mirror, 0},
		"A pod that tolerates the taint is not evicted":                            {tolerates(dedicated), 0},
		"A pod that tolerates everything is not evicted":                           {tolerates(corev1.Toleration{Operator: corev1.TolerationOpExists}), 0},
		"A pod that tolerates the taint for a time is evicted in the end":          {tolerates(forAnHour), 1},
		"A pod that tolerates the taint both for a time and always is not evicted": {tolerates(forAnHour, dedicated), 0},
		"A pod that tolerates another value is evicted":                            {tolerates(otherValue), 1},
		"A pod that tolerates another effect is evicted":                           {tolerates(otherEffect), 1},
	}
	taint := []corev1.Taint{{Key: "dedicated", Value: "cp", Effect: corev1.TaintEffectNoExecute}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(plan.CountEvicted([]corev1.Pod{test.pod}, taint)).To(Equal(test.want))
			g.Expect(plan.CountEvicted([]corev1.Pod{test.pod, test.pod}, taint)).To(Equal(2 * test.want))
		})
	}
}

func TestPodsMustTolerateEveryTaint(t *testing.T) {
	pod := corev1.Pod{Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "a", Operator: corev1.TolerationOpExists}}}}
	taints := []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoExecute}, {Key: "b", Effect: corev1.TaintEffectNoExecute}}
	NewWithT(t).Expect(plan.CountEvicted([]corev1.Pod{pod}, taints)).To(Equal(1))
}

func TestOnlyMissingNoExecuteTaintsOfThePolicyEvict(t *testing.T) {
	taint := func(key, value string, effect corev1.TaintEffect) v1alpha1.Taint {
		return v1alpha1.Taint{Key: key, Value: value, Effect: effect}
	}
	policies := compile(
		policy("p", taints(
			taint("missing", "x", corev1.TaintEffectNoExecute),
			taint("other-value", "x", corev1.TaintEffectNoExecute),
			taint("there", "x", corev1.TaintEffectNoExecute),
			taint("there-without-value", "", corev1.TaintEffectNoExecute),
			taint("not-evicting", "x", corev1.TaintEffectNoSchedule),
		)),
		policy("q", taints(taint("of-another-policy", "x", corev1.TaintEffectNoExecute))),
	)
	node := node("cp-1",
		corev1.Taint{Key: "missing", Value: "x", Effect: corev1.TaintEffectNoSchedule},
		corev1.Taint{Key: "other-value", Value: "y", Effect: corev1.TaintEffectNoExecute},
		corev1.Taint{Key: "there", Value: "x", Effect: corev1.TaintEffectNoExecute},
		corev1.Taint{Key: "there-without-value", Effect: corev1.TaintEffectNoExecute},
	)
	claims, _ := plan.TaintClaims(node, policies)
	want := []corev1.Taint{
		{Key: "missing", Value: "x", Effect: corev1.TaintEffectNoExecute},
		{Key: "other-value", Value: "x", Effect: corev1.TaintEffectNoExecute},
	}
	if diff := cmp.Diff(want, plan.MissingNoExecute(node, claims, "p")); diff != "" {
		t.Errorf("taints (-want +got):\n%s", diff)
	}
}

func TestTaintValueDistinguishesNoTaintFromNoValue(t *testing.T) {
	g := NewWithT(t)
	node := node("cp-1",
		corev1.Taint{Key: "a", Effect: corev1.TaintEffectNoSchedule},
		corev1.Taint{Key: "b", Value: "x", Effect: corev1.TaintEffectNoSchedule},
	)
	g.Expect(plan.TaintValue(node, "a:NoSchedule")).To(HaveValue(Equal("")))
	g.Expect(plan.TaintValue(node, "b:NoSchedule")).To(HaveValue(Equal("x")))
	g.Expect(plan.TaintValue(node, "a:NoExecute")).To(BeNil())
}
