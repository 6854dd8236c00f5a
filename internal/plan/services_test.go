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
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

var (
	everywhere = state.Spread{Nodes: 5, Served: 5, Ready: 5}
	some       = state.Spread{Nodes: 5, Served: 2, Ready: 2, Without: []string{"cp-3", "worker-1", "worker-2"}}
	nowhere    = state.Spread{Nodes: 5, Without: []string{"cp-1", "cp-2", "cp-3"}}
)

// service returns shop/web, labelled app=web, in a namespace labelled team=edge, with endpoints on every node.
func service(kind corev1.ServiceType, edits ...func(*state.Service)) state.Service {
	s := state.Service{
		Service: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}},
			Spec:       corev1.ServiceSpec{Type: kind},
		},
		NamespaceLabels: map[string]string{"team": "edge"},
		Endpoints:       state.Endpoints{LookedUp: true, All: everywhere, Balanced: everywhere},
	}
	if kind == corev1.ServiceTypeLoadBalancer || kind == corev1.ServiceTypeNodePort {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

func alreadyLocal(s *state.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
}

// on sets how many nodes have endpoints, of all nodes and of those that load balancers use.
func on(spread state.Spread) func(*state.Service) {
	return func(s *state.Service) { s.Endpoints.All, s.Endpoints.Balanced = spread, spread }
}

func unlooked(s *state.Service) { s.Endpoints = state.Endpoints{} }
func headless(s *state.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }

func externalIPs(s *state.Service) { s.Spec.ExternalIPs = []string{"192.0.2.9"} }

func class(name string) func(*state.Service) {
	return func(s *state.Service) { s.Spec.LoadBalancerClass = &name }
}

func named(namespace, name string) func(*state.Service) {
	return func(s *state.Service) { s.Namespace, s.Name = namespace, name }
}

// entry returns an entry that selects the service in every namespace.
func entry(name string, edit func(*v1alpha1.ServiceTrafficPolicy)) v1alpha1.ServiceTrafficPolicy {
	rule := v1alpha1.ServiceTrafficPolicy{Name: name, Selector: labelled("app", "web"), NamespaceSelector: &v1alpha1.LabelSelector{}}
	edit(&rule)
	return rule
}

func external(value corev1.ServiceExternalTrafficPolicy) func(*v1alpha1.ServiceTrafficPolicy) {
	return func(r *v1alpha1.ServiceTrafficPolicy) { r.ExternalTrafficPolicy = value }
}

func internal(value corev1.ServiceInternalTrafficPolicy) func(*v1alpha1.ServiceTrafficPolicy) {
	return func(r *v1alpha1.ServiceTrafficPolicy) { r.InternalTrafficPolicy = value }
}

const externalName = "a Service of type ExternalName is a DNS name only, and has no traffic policy"

func TestOtherTrafficPoliciesApplyToEveryServiceThatIsProxied(t *testing.T) {
	all := entry("e", func(r *v1alpha1.ServiceTrafficPolicy) {
		r.InternalTrafficPolicy, r.TrafficDistribution = corev1.ServiceInternalTrafficPolicyLocal, "PreferSameZone"
	})
	for kind, notApplicable := range map[corev1.ServiceType]string{
		corev1.ServiceTypeClusterIP: "", corev1.ServiceTypeNodePort: "", corev1.ServiceTypeLoadBalancer: "",
		corev1.ServiceTypeExternalName: externalName,
	} {
		t.Run(string(kind), func(t *testing.T) {
			claims, _ := plan.ServiceClaims(service(kind), compile(policy("p", services(all))))
			want := []claim{
				{Field: plan.InternalTrafficPolicy, Want: "Local", Policy: "p", NotApplicable: notApplicable},
				{Field: plan.TrafficDistribution, Want: "PreferSameZone", Policy: "p", NotApplicable: notApplicable},
			}
			if diff := cmp.Diff(want, plain(claims)); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFirstEntryOfTheOldestPolicyDecidesEachField(t *testing.T) {
	const lost = "internalTrafficPolicy of Service/shop/web"
	tests := map[string]struct {
		policies []v1alpha1.ControlPlaneNetworkPolicy
		claims   []claim
		losses   []plan.Loss
	}{
		"Of two entries of one policy, the first that declares a field decides, without a loss": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{policy("p", services(
				entry("1st", external("Cluster")), entry("2nd", external("Local")), entry("3rd", internal("Local")),
			))},
			claims: []claim{
				{Field: plan.ExternalTrafficPolicy, Want: "Cluster", Policy: "p"},
				{Field: plan.InternalTrafficPolicy, Want: "Local", Policy: "p"},
			},
		},
		"Of two policies, the older decides the fields that both declare": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("old", services(entry("e", internal("Local")))),
				policy("young", services(entry("e", internal("Cluster")), entry("f", external("Cluster")))),
			},
			claims: []claim{
				{Field: plan.InternalTrafficPolicy, Want: "Local", Policy: "old"},
				{Field: plan.ExternalTrafficPolicy, Want: "Cluster", Policy: "young"},
			},
			losses: []plan.Loss{{Policy: "young", Winner: "old", What: lost}},
		},
		"A policy that is being deleted decides no field": {
			policies: []v1alpha1.ControlPlaneNetworkPolicy{
				policy("old", deleted, services(entry("e", internal("Local")))), policy("young", services(entry("e", internal("Cluster")))),
			},
			claims: []claim{{Field: plan.InternalTrafficPolicy, Want: "Cluster", Policy: "young"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			claims, losses := plan.ServiceClaims(service(corev1.ServiceTypeNodePort), compile(test.policies...))
			if diff := cmp.Diff(test.claims, plain(claims)); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.losses, losses); diff != "" {
				t.Errorf("losses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEntrySelectsByTheLabelsOfServiceAndNamespace(t *testing.T) {
	edge, other, all := labelled("team", "edge"), labelled("team", "other"), v1alpha1.LabelSelector{}
	tests := map[string]struct {
		selector   v1alpha1.LabelSelector
		namespaces *v1alpha1.LabelSelector
		selects    bool // the Service
		labels     bool // whether Services with its labels in some namespace are selected
	}{
		"both match":                          {labelled("app", "web"), &edge, true, true},
		"every namespace":                     {labelled("app", "web"), &all, true, true},
		"no selector matches every namespace": {labelled("app", "web"), nil, true, true},
		"another namespace":                   {labelled("app", "web"), &other, false, true},
		"another Service":                     {labelled("app", "db"), &edge, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			policies := compile(policy("p", services(entry("e", func(r *v1alpha1.ServiceTrafficPolicy) {
				r.Selector, r.NamespaceSelector, r.InternalTrafficPolicy = test.selector, test.namespaces, "Local"
			}))))
			s := service(corev1.ServiceTypeClusterIP)
			claims, _ := plan.ServiceClaims(s, policies)
			g.Expect(len(claims) == 1).To(Equal(test.selects))
			g.Expect(policies[0].SelectsService(s)).To(Equal(test.selects))
			g.Expect(policies[0].SelectsServiceLabels(s.Labels)).To(Equal(test.labels))
		})
	}
}

func TestOnlyConflictPolicyOverrideTakesOver(t *testing.T) {
	for value, want := range map[v1alpha1.ConflictPolicy]bool{"": false, v1alpha1.ConflictReport: false, v1alpha1.ConflictOverride: true} {
		claims, _ := plan.ServiceClaims(service(corev1.ServiceTypeClusterIP), compile(policy("p", services(
			entry("e", func(r *v1alpha1.ServiceTrafficPolicy) { r.InternalTrafficPolicy, r.ConflictPolicy = "Local", value }),
		))))
		NewWithT(t).Expect(claims[0].Override).To(Equal(want), "conflictPolicy %q", value)
	}
}

func TestTrafficPolicyReadsOnlyFieldsThatAreSet(t *testing.T) {
	g := NewWithT(t)
	empty, full := &corev1.Service{}, &corev1.Service{Spec: corev1.ServiceSpec{
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster),
		TrafficDistribution:   ptr.To("PreferClose"),
	}}
	for field, want := range map[string]string{
		plan.ExternalTrafficPolicy: "Local", plan.InternalTrafficPolicy: "Cluster", plan.TrafficDistribution: "PreferClose",
	} {
		g.Expect(plan.TrafficPolicy(full, field)).To(HaveValue(Equal(want)))
		g.Expect(plan.TrafficPolicy(empty, field)).To(BeNil())
	}
	g.Expect(plan.TrafficPolicy(full, "type")).To(BeNil())
}
