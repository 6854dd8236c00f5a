// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Kubelets can write the annotations of earlier versions. So only entries that an
// earlier version may have written count, and only until they are moved to node records.
func TestRecordsOfEarlierVersionsAreMovedOver(t *testing.T) {
	const (
		field = "a:NoSchedule"
		text  = `{"a:NoSchedule":{"policy":"p","applied":"x","original":"y"}}`
	)
	entry := state.Record{field: {Policy: "p", Applied: "x", Original: ptr.To("y")}}
	earlier := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Taints = []v1alpha1.Taint{{Key: "a", Value: "x", Effect: corev1.TaintEffectNoSchedule}}
		p.Spec.NodeSelector.MatchLabels = map[string]v1alpha1.LabelValue{"role": "cp"}
		p.Status.ObservedGeneration = 3
	}
	with := func(changes ...func(*v1alpha1.ControlPlaneNetworkPolicy)) v1alpha1.ControlPlaneNetworkPolicy {
		p := policy("p", earlier)
		for _, change := range changes {
			change(&p)
		}
		return p
	}
	for name, test := range map[string]struct {
		policy v1alpha1.ControlPlaneNetworkPolicy
		text   string
		record state.Record
		want   state.Record
	}{
		"written by an earlier version":              {with(), text, nil, entry},
		"of a policy that is being deleted":          {with(deleted), text, nil, entry},
		"of a policy whose records were moved":       {with(func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.RecordFormat = 2 }), text, nil, nil},
		"of a policy that no earlier version served": {with(func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.ObservedGeneration = 0 }), text, nil, nil},
		"of a policy that does not select the node": {with(func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Spec.NodeSelector.MatchLabels = map[string]v1alpha1.LabelValue{"elsewhere": ""}
		}), text, nil, nil},
		"of a policy that does not exist":      {with(), `{"a:NoSchedule":{"policy":"q","applied":"x","original":null}}`, nil, nil},
		"of a taint that is not declared":      {with(), `{"quarantine:NoExecute":{"policy":"p","applied":"yes","original":null}}`, nil, nil},
		"with an invalid value":                {with(), `{"a:NoSchedule":{"policy":"p","applied":"x","original":"-"}}`, nil, nil},
		"of a taint that is already on record": {with(), text, state.Record{field: {Policy: "p", Applied: "x"}}, state.Record{field: {Policy: "p", Applied: "x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
				Name: "cp-1", Labels: map[string]string{"role": "cp"}, Annotations: map[string]string{v1alpha1.AnnotationRecord: test.text},
			}}
			NewWithT(t).Expect(drift.MoveRecord(node, test.record, compile(test.policy))).To(Equal(test.want))
		})
	}
}
