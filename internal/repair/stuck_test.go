// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Taints that are declared elsewhere, and taints that cannot be written, are not waited for.
func TestWhichNodesAreStuck(t *testing.T) {
	g := NewWithT(t)
	policies := verified(v1alpha1.ControlPlaneNetworkPolicySpec{
		Mode:         v1alpha1.ModeEnforce,
		NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"in": ""}},
		Taints:       []v1alpha1.Taint{{Key: "maintenance", Effect: corev1.TaintEffectNoExecute, AllowEviction: true}},
	})
	nodes := make([]*corev1.Node, 3)
	for i := range nodes {
		nodes[i] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n-%d", i), Labels: map[string]string{"in": ""}}}
	}
	history, now := drift.NewHistory(), time.Unix(9, 0)
	nodes[1].Spec.Taints = []corev1.Taint{{Key: "maintenance", Value: "theirs", Effect: corev1.TaintEffectNoExecute}}
	nodes[1].ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "argocd", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:taints":{}}}`),
	}}
	history.RecordFailure(drift.Object{Kind: "Node", Name: "n-2"}, []string{"p"}, errors.New("denied"), now)
	stuckAt := func(now time.Time) (names []string) {
		is := StuckTaints(history, state.NodeRecords{}, policies, now)
		for i := range nodes {
			claims, _ := plan.TaintClaims(nodes[i], policies)
			if is(nodes[i], claims[0]) {
				names = append(names, nodes[i].Name)
			}
		}
		return names
	}
	g.Expect(stuckAt(now.Add(timing.NodeUnwritable - time.Second))).To(ConsistOf("n-1"))
	g.Expect(stuckAt(now.Add(timing.NodeUnwritable))).To(ConsistOf("n-1", "n-2"))
}
