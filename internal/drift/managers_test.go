// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func TestWhichManagerSetAField(t *testing.T) {
	const self = v1alpha1.FieldManagerServices
	target, other := path("spec", "externalTrafficPolicy"), path("spec", "type")
	status := owns("kubelet", set, 9, target)
	status.Subresource = "status"
	broken := owns("broken", set, 9, target)
	broken.FieldsV1 = metav1.NewFieldsV1("{")
	empty := owns("empty", set, 9, target)
	empty.FieldsV1 = nil
	timeless := owns("timeless", set, 0, target)
	timeless.Time = nil

	type managers = []metav1.ManagedFieldsEntry
	by := func(name string) drift.Manager { return drift.Manager{Name: name} }
	declaredBy := func(name string) drift.Manager { return drift.Manager{Name: name, Declares: true} }
	tests := map[string]struct {
		entries managers
		want    drift.Manager
	}{
		"the only manager":                     {managers{owns("a", set, 1, target)}, by("a")},
		"the only manager, which declares it":  {managers{owns("a", apply, 1, target)}, declaredBy("a")},
		"unknown, where the field was removed": {managers{owns("a", set, 1, other)}, by("")},
		"unknown, without managers":            {nil, by("")},
		"not the operator itself":              {managers{owns(self, apply, 9, target)}, by("")},
		"another manager beside the operator":  {managers{owns(self, apply, 9, target), owns("a", set, 1, target)}, by("a")},
		"not a manager of another field":       {managers{owns("a", set, 9, other), owns("b", set, 1, target)}, by("b")},
		"the latest of the managers that set it": {
			managers{owns("a", set, 1, target), owns("b", set, 3, target), owns("c", set, 2, target)}, by("b"),
		},
		"a manager that declares it before one that set it later": {
			managers{owns("a", apply, 1, target), owns("b", set, 9, target)}, declaredBy("a"),
		},
		"a manager that declares it after one that set it earlier": {
			managers{owns("a", set, 9, target), owns("b", apply, 1, target)}, declaredBy("b"),
		},
		"the latest of the managers that declare it":     {managers{owns("a", apply, 2, target), owns("b", apply, 3, target)}, declaredBy("b")},
		"a manager without a time, if there is no other": {managers{timeless}, by("timeless")},
		"a manager with a time before one without":       {managers{timeless, owns("b", set, 1, target)}, by("b")},
		"not a manager of a subresource":                 {managers{status, owns("a", set, 1, target)}, by("a")},
		"not a manager with unreadable fields":           {managers{broken, empty, owns("a", set, 1, target)}, by("a")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(drift.ManagerOf(test.entries, self, target...)).To(Equal(test.want))
		})
	}
}

func entriesOf(entries ...metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry { return entries }

func TestOwnedMatchesOneManagerAndOneField(t *testing.T) {
	g := NewWithT(t)
	entries := entriesOf(owns("a", set, 1, path("metadata", "annotations", "x")), owns("b", set, 1, path("metadata", "annotations", "y")))
	g.Expect(drift.HoldsField(entries, "a", "metadata", "annotations", "x")).To(BeTrue())
	g.Expect(drift.HoldsField(entries, "a", "metadata", "annotations", "y")).To(BeFalse())
	g.Expect(drift.HoldsField(entries, "c", "metadata", "annotations", "x")).To(BeFalse())
}

func TestServiceAsASharedObject(t *testing.T) {
	g := NewWithT(t)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web",
			Annotations: map[string]string{v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"p","applied":"Local","original":"Cluster"}}`},
			ManagedFields: entriesOf(
				owns(v1alpha1.FieldManagerServices, apply, 9, path("spec", "externalTrafficPolicy")),
				owns("argocd-controller", apply, 1, path("spec", "externalTrafficPolicy")),
				owns("kubectl-edit", set, 1, path("spec", "internalTrafficPolicy"))),
		},
		Spec: corev1.ServiceSpec{ExternalTrafficPolicy: "Cluster"},
	}
	shared := drift.SharedService(service)
	g.Expect(shared.Object).To(Equal(drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}))
	g.Expect(shared.Live("externalTrafficPolicy")).To(HaveValue(Equal("Cluster")))
	g.Expect(shared.Live("internalTrafficPolicy")).To(BeNil())
	g.Expect(shared.By("externalTrafficPolicy")).To(Equal(drift.Manager{Name: "argocd-controller", Declares: true, Tool: drift.ToolArgo}))
	g.Expect(shared.By("internalTrafficPolicy")).To(Equal(drift.Manager{Name: "kubectl-edit"}))
	g.Expect(shared.Record).To(HaveKeyWithValue("externalTrafficPolicy", *done("p", "Local", "Cluster")))
}

func TestNodeAsASharedObject(t *testing.T) {
	g := NewWithT(t)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "cp-1",
			// A kubelet can write this.
			Annotations: map[string]string{v1alpha1.AnnotationRecord: `{"b:NoSchedule":{"policy":"p","applied":"","original":null}}`},
			ManagedFields: entriesOf(
				owns(v1alpha1.FieldManagerTaints, set, 1, path("spec", "taints")), owns("gitops", apply, 2, path("spec", "taints"))),
		},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoSchedule}}},
	}
	shared := drift.SharedNode(node, state.Record{"a:NoSchedule": *done("p", "", "")})
	g.Expect(shared.Object).To(Equal(drift.Object{Kind: "Node", Name: "cp-1"}))
	g.Expect(shared.Live("a:NoSchedule")).To(HaveValue(BeEmpty()))
	g.Expect(shared.Live("b:NoSchedule")).To(BeNil())
	g.Expect(shared.By("a:NoSchedule")).To(Equal(drift.Manager{Name: "gitops", Declares: true}),
		"whoever applies the list of taints declares that no other one is there")
	g.Expect(shared.Record).To(Equal(state.Record{"a:NoSchedule": *done("p", "", "")}))
}
