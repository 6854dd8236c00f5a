// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Everybody with the right to write a Service can restore the record again and again.
func TestDeletionWaitsForAServiceOnce(t *testing.T) {
	g := NewWithT(t)
	policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*deleted()})
	object := drift.Object{Kind: "Service", Namespace: "n", Name: "web"}
	service := state.Service{Service: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web", Annotations: map[string]string{
		v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"p","applied":"Local","original":"Cluster"}}`,
	}}}}
	r := &Reconciler{Repairer: repair.Repairer{History: drift.NewHistory(), Releases: &repair.Releases{}}}
	left := func() []string { return r.recordedFor(&policies[0], policies, nil, nil, []state.Service{service}) }
	g.Expect(left()).To(ConsistOf(object.String()))

	record := drift.SharedService(service.Service).Record
	r.Releases.Record(object, record, record, policies)
	g.Expect(left()).To(ConsistOf(object.String()), "the record still has it")
	r.Releases.Record(object, record, state.Record{}, policies)
	g.Expect(left()).To(BeEmpty())
	r.Releases.Forget("p")
	g.Expect(left()).To(ConsistOf(object.String()), "the policy has been at work again since")

	active := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{{ObjectMeta: metav1.ObjectMeta{Name: "p"}}})
	r.Releases.Record(object, record, state.Record{}, active)
	g.Expect(left()).To(ConsistOf(object.String()), "that was no end of the policy")
}
