// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The operator's own pods are the pod of this process and the pods of the same
// controller. Labels prove nothing, because others can put them on their pods.
func TestOwnPodsAreThoseOfTheSameController(t *testing.T) {
	g := NewWithT(t)
	labels := map[string]string{"app.kubernetes.io/name": "cpnp-operator"}
	pod := func(name string, controller types.UID, phase corev1.PodPhase) client.Object {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "cpnp-system", Name: name, Labels: labels}, Status: corev1.PodStatus{Phase: phase}}
		if controller != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "operator", UID: controller, Controller: ptr.To(true)}}
		}
		return p
	}
	elsewhere := pod("operator-d", "1", corev1.PodRunning)
	elsewhere.SetNamespace("default")
	pods := fake.NewClientBuilder().WithObjects(
		pod("impostor", "", corev1.PodRunning), pod("another", "2", corev1.PodRunning), elsewhere,
		pod("operator-a", "1", corev1.PodRunning), pod("operator-b", "1", corev1.PodRunning), pod("operator-c", "1", corev1.PodFailed),
	).Build()
	named := func(name string) (names []string, known bool) {
		observer := state.Observer{Own: state.Own{Pod: types.NamespacedName{Namespace: "cpnp-system", Name: name}, Pods: pods}}
		operator, err := observer.FindOperator(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		for _, p := range operator.Running {
			names = append(names, p.Name)
		}
		return names, operator.IsKnown()
	}
	for self, want := range map[string][]string{
		"operator-a": {"operator-a", "operator-b"}, "operator-b": {"operator-b", "operator-a"}, "impostor": {"impostor"},
	} {
		names, known := named(self)
		g.Expect(names).To(Equal(want))
		g.Expect(known).To(BeTrue())
	}
	names, known := named("host-name")
	g.Expect(names).To(BeEmpty())
	g.Expect(known).To(BeFalse())
	operator, err := state.Observer{}.FindOperator(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(operator.IsKnown()).To(BeTrue(), "outside of a cluster the operator has no pods")
}
