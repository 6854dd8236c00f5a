// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// networkPolicies are specs of all forms, as an API server returns them.
func networkPolicies() map[string]*networkingv1.NetworkPolicy {
	peer := networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}}
	pods := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}}
	port := networkingv1.NetworkPolicyPort{Port: ptr.To(intstr.FromInt32(443)), EndPort: ptr.To[int32](444)}
	specs := map[string]networkingv1.NetworkPolicySpec{
		"empty": {},
		"with a selector": {PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}, MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "zone", Operator: metav1.LabelSelectorOpIn, Values: []string{"a"}}}}},
		"with an empty rule": {Ingress: []networkingv1.NetworkPolicyIngressRule{{}}, PolicyTypes: []networkingv1.PolicyType{"Ingress"}},
		"in both directions": {
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{peer, pods}}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{peer}, Ports: []networkingv1.NetworkPolicyPort{port}}},
			PolicyTypes: []networkingv1.PolicyType{"Ingress", "Egress"},
		},
	}
	policies := map[string]*networkingv1.NetworkPolicy{}
	for name, spec := range specs {
		policy := &networkingv1.NetworkPolicy{Spec: spec}
		policy.Name, policy.Namespace, policy.Labels = "cpnp.p.x", "default", map[string]string{"a": "b"}
		now := metav1.NewTime(time.Unix(1, 0))
		policy.ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: "cpnp.dev/network", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "networking.k8s.io/v1", Time: &now,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:egress":{},"f:ingress":{},"f:podSelector":{}}}`),
		}}
		policies[name] = policy
	}
	return policies
}

// A spec that is rendered alone equals the spec of the whole object.
func TestSpecAloneEqualsThatOfTheWholeObject(t *testing.T) {
	for name, policy := range networkPolicies() {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			content, err := plan.WrittenContent(policy)
			g.Expect(err).NotTo(HaveOccurred())
			fields, err := plan.SpecFields(policy)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(fields).To(Equal(content["spec"]))
			g.Expect(fields).To(HaveKey("podSelector"))
		})
	}
}

// BenchmarkSpec renders the spec of a NetworkPolicy alone;
// BenchmarkSpecOfWhole renders the whole object for its spec.
func BenchmarkSpec(b *testing.B) {
	policy := networkPolicies()["in both directions"]
	for b.Loop() {
		if _, err := plan.SpecFields(policy); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSpecOfWhole(b *testing.B) {
	policy := networkPolicies()["in both directions"]
	for b.Loop() {
		if _, err := plan.WrittenContent(policy); err != nil {
			b.Fatal(err)
		}
	}
}
