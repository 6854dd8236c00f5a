// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// protects makes a policy restrict components, each of which is the pods with a label.
func protects(names ...string) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network = &v1alpha1.NetworkSpec{}
		for _, name := range names {
			p.Spec.Network.Components = append(p.Spec.Network.Components, v1alpha1.Component{
				Name:      name,
				Pods:      &v1alpha1.PodSelector{Namespace: "kube-system", Selector: labelled("app", v1alpha1.LabelValue(name))},
				Ports:     []v1alpha1.Port{{Protocol: "UDP", Port: 53}},
				AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RolePods}},
			})
		}
	}
}

// rendered returns a policy and the NetworkPolicies that it calls for.
func rendered(p v1alpha1.ControlPlaneNetworkPolicy) (*plan.Policy, plan.Network) {
	policies := compile(p)
	return &policies[0], plan.NetworkPolicies(&policies[0], policies, state.Snapshot{})
}

// fields are the fields that the operator's apply owns.
var fields = map[string][]any{
	"hash":        path("metadata", "annotations", v1alpha1.AnnotationDesiredHash),
	"version":     path("metadata", "annotations", v1alpha1.AnnotationRendererVersion),
	"policy":      path("metadata", "labels", v1alpha1.LabelPolicy),
	"component":   path("metadata", "labels", v1alpha1.LabelComponent),
	"ingress":     path("spec", "ingress"),
	"podSelector": path("spec", "podSelector"),
	"policyTypes": path("spec", "policyTypes"),
}

// written returns the object after the operator's apply, and after another manager has taken over some fields.
func written(desired *networkingv1.NetworkPolicy, taken ...string) *networkingv1.NetworkPolicy {
	live := desired.DeepCopy()
	live.UID, live.ResourceVersion = "uid", "7"
	var ours [][]any
	for name, field := range fields {
		held := true
		for _, other := range taken {
			held = held && other != name
		}
		if held {
			ours = append(ours, field)
		}
	}
	live.ManagedFields = entriesOf(owns(v1alpha1.FieldManagerNetwork, apply, 1, ours...))
	return live
}

// by adds a manager of some fields.
func by(live *networkingv1.NetworkPolicy, manager string, operation metav1.ManagedFieldsOperationType, paths ...[]any) {
	live.ManagedFields = append(live.ManagedFields, owns(manager, operation, 2, paths...))
}

// difference holds the parts of a finding in which the findings of one object differ.
type difference struct {
	Field  string
	Cause  v1alpha1.DriftCause
	State  v1alpha1.DriftState
	By     string
	Actual string
}

func differences(t *testing.T, findings []drift.Finding) []difference {
	t.Helper()
	var out []difference
	for _, f := range findings {
		g := NewWithT(t)
		g.Expect(f.Policy).To(Equal("dns"))
		g.Expect(f.Object).To(Equal(drift.Object{Kind: "NetworkPolicy", Namespace: "kube-system", Name: "cpnp.dns.coredns"}))
		g.Expect(f.By.Declares).To(BeFalse(), "the object is managed, so nobody else can declare it")
		out = append(out, difference{f.Field, f.Cause, f.State, f.By.Name, f.Actual})
	}
	return out
}

const (
	hashField      = "metadata.annotations[cpnp.dev/desired-hash]"
	versionField   = "metadata.annotations[cpnp.dev/renderer-version]"
	policyField    = "metadata.labels[cpnp.dev/policy]"
	componentField = "metadata.labels[cpnp.dev/component]"
	fromNobody     = `[{"from":[{"ipBlock":{"cidr":"192.0.2.1/32"}}]}]`
)

func nobody() []networkingv1.NetworkPolicyIngressRule {
	return []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.1/32"}}}}}
}

func TestWhichChangesOfANetworkPolicyAreDrift(t *testing.T) {
	tests := map[string]struct {
		taken  []string
		change func(*networkingv1.NetworkPolicy)
		want   []difference
	}{
		"A NetworkPolicy as written has no difference": {nil, func(*networkingv1.NetworkPolicy) {}, nil},
		"An empty list equals no list":                 {nil, func(n *networkingv1.NetworkPolicy) { n.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{} }, nil},
		"Foreign labels and annotations are ignored": {nil, func(n *networkingv1.NetworkPolicy) {
			n.Labels["team"], n.Annotations["note"] = "edge", "keep"
		}, nil},
		"Changed rules are modified, and the manager is named": {[]string{"ingress"}, func(n *networkingv1.NetworkPolicy) {
			n.Spec.Ingress = nobody()
			by(n, "kubectl-edit", set, path("spec", "ingress"))
		}, []difference{{"spec.ingress", v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-edit", fromNobody}}},
		"Removed rules are missing, and the manager is unknown": {[]string{"ingress"}, func(n *networkingv1.NetworkPolicy) {
			n.Spec.Ingress = nil
		}, []difference{{"spec.ingress", v1alpha1.CauseMissing, v1alpha1.StateDrifted, "", ""}}},
		"Rules in a direction that is not declared are unexpected": {nil, func(n *networkingv1.NetworkPolicy) {
			n.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
			by(n, "argocd-controller", apply, path("spec", "egress"))
		}, []difference{{"spec.egress", v1alpha1.CauseUnexpected, v1alpha1.StateDrifted, "argocd-controller", "[{}]"}}},
		"Another selector is modified": {[]string{"podSelector"}, func(n *networkingv1.NetworkPolicy) {
			n.Spec.PodSelector.MatchLabels["app"] = "nothing"
			by(n, "kubectl-patch", set, path("spec", "podSelector"))
		}, []difference{{"spec.podSelector", v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-patch", `{"matchLabels":{"app":"nothing"}}`}}},
		"Other directions are modified": {[]string{"policyTypes"}, func(n *networkingv1.NetworkPolicy) {
			n.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
			by(n, "kubectl-edit", set, path("spec", "policyTypes"))
		}, []difference{{"spec.policyTypes", v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-edit", `["Egress"]`}}},
		"A changed label is modified": {[]string{"component"}, func(n *networkingv1.NetworkPolicy) {
			n.Labels[v1alpha1.LabelComponent] = "other"
			by(n, "kubectl-label", set, path("metadata", "labels", v1alpha1.LabelComponent))
		}, []difference{{componentField, v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-label", "other"}}},
		"A removed label is missing": {[]string{"policy"}, func(n *networkingv1.NetworkPolicy) {
			delete(n.Labels, v1alpha1.LabelPolicy)
		}, []difference{{policyField, v1alpha1.CauseMissing, v1alpha1.StateDrifted, "", ""}}},
		"A foreign hash has drifted, and proves nothing of the rules": {[]string{"hash"}, func(n *networkingv1.NetworkPolicy) {
			n.Annotations[v1alpha1.AnnotationDesiredHash] = "forged"
			by(n, "kubectl-edit", set, path("metadata", "annotations", v1alpha1.AnnotationDesiredHash))
		}, []difference{{hashField, v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-edit", "forged"}}},
		"Rules that were changed together with the hash have drifted": {[]string{"hash", "ingress"}, func(n *networkingv1.NetworkPolicy) {
			n.Annotations[v1alpha1.AnnotationDesiredHash], n.Spec.Ingress = "forged", nobody()
			by(n, "kubectl-edit", set, path("metadata", "annotations", v1alpha1.AnnotationDesiredHash), path("spec", "ingress"))
		}, []difference{
			{hashField, v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-edit", "forged"},
			{"spec.ingress", v1alpha1.CauseModified, v1alpha1.StateDrifted, "kubectl-edit", fromNobody},
		}},
		"Removed stamps are missing": {[]string{"hash", "version"}, func(n *networkingv1.NetworkPolicy) {
			n.Annotations = nil
		}, []difference{
			{hashField, v1alpha1.CauseMissing, v1alpha1.StateDrifted, "", ""}, {versionField, v1alpha1.CauseMissing, v1alpha1.StateDrifted, "", ""},
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for mode, p := range map[string]v1alpha1.ControlPlaneNetworkPolicy{
				"Enforce": policy("dns", protects("coredns")), "Audit": policy("dns", audits, protects("coredns")),
			} {
				owner, network := rendered(p)
				live := written(network.Objects[0], test.taken...)
				test.change(live)
				got := differences(t, drift.CompareOwned(owner, network.Objects[0], live, true))
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", mode, diff)
				}
			}
		})
	}
}

func TestNetworkPolicyThatLostItsOutgoingRulesHasDrifted(t *testing.T) {
	owner, network := rendered(policy("dns", protects("coredns"), func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Components[0].AllowTo = []v1alpha1.Destination{{Role: v1alpha1.RolePods}}
	}))
	live := written(network.Objects[0])
	live.Spec.Egress, live.Spec.PolicyTypes = nil, nil
	want := []difference{
		{"spec.egress", v1alpha1.CauseMissing, v1alpha1.StateDrifted, "", ""},
		{"spec.policyTypes", v1alpha1.CauseMissing, v1alpha1.StateDrifted, "", ""},
	}
	if diff := cmp.Diff(want, differences(t, drift.CompareOwned(owner, network.Objects[0], live, true))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIncomingRulesAreUnexpectedWhereOnlyOutgoingOnesAreDeclared(t *testing.T) {
	g := NewWithT(t)
	owner, network := rendered(policy("dns", protects("coredns"), func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		component := &p.Spec.Network.Components[0]
		component.Ports, component.AllowFrom = nil, nil
		component.AllowTo = []v1alpha1.Destination{{Role: v1alpha1.RolePods}}
	}))
	live := written(network.Objects[0])
	live.Spec.Ingress = nobody()
	findings := drift.CompareOwned(owner, network.Objects[0], live, true)
	g.Expect(findings).To(HaveExactElements(And(
		HaveField("Field", "spec.ingress"), HaveField("Cause", v1alpha1.CauseUnexpected),
		HaveField("Expected", ""), HaveField("Actual", fromNobody))))
}

func TestNetworkPolicyOfNewIntentIsPendingAndNoDrift(t *testing.T) {
	pending := []difference{{"", v1alpha1.CauseModified, v1alpha1.StatePending, "", ""}}
	tests := map[string]struct {
		taken  []string
		change func(*networkingv1.NetworkPolicy)
		want   []difference
	}{
		"Written by the operator from another spec": {nil, func(n *networkingv1.NetworkPolicy) {
			n.Annotations[v1alpha1.AnnotationDesiredHash], n.Spec.Ingress = "before", nobody()
		}, pending},
		"Written by another version of the operator": {nil, func(n *networkingv1.NetworkPolicy) {
			n.Annotations[v1alpha1.AnnotationRendererVersion], n.Spec.Ingress = "0", nobody()
		}, pending},
		"Only the hash is of another spec": {nil, func(n *networkingv1.NetworkPolicy) {
			n.Annotations[v1alpha1.AnnotationDesiredHash] = "before"
		}, pending},
		"Changed by somebody before the new spec": {[]string{"ingress"}, func(n *networkingv1.NetworkPolicy) {
			n.Annotations[v1alpha1.AnnotationDesiredHash], n.Spec.Ingress = "before", nobody()
			by(n, "kubectl-edit", set, path("spec", "ingress"))
		}, pending},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			owner, network := rendered(policy("dns", protects("coredns")))
			live := written(network.Objects[0], test.taken...)
			test.change(live)
			got := differences(t, drift.CompareOwned(owner, network.Objects[0], live, true))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}

			auditor, network := rendered(policy("dns", audits, protects("coredns")))
			for _, d := range differences(t, drift.CompareOwned(auditor, network.Objects[0], live, true)) {
				NewWithT(t).Expect(d.State).To(Equal(v1alpha1.StateDrifted), "a policy in mode Audit has no pending objects: %s", d.Field)
			}
		})
	}
}

func TestNetworkPolicyThatIsMissing(t *testing.T) {
	tests := map[string]struct {
		edits   []edit
		inPlace bool
		want    v1alpha1.DriftState
	}{
		"was deleted, if it existed before":              {nil, true, v1alpha1.StateDrifted},
		"is still to be created, if it did not exist":    {nil, false, v1alpha1.StatePending},
		"is not as declared, for a policy in mode Audit": {[]edit{audits}, false, v1alpha1.StateDrifted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			owner, network := rendered(policy("dns", append(test.edits, protects("coredns"))...))
			got := differences(t, drift.CompareOwned(owner, network.Objects[0], nil, test.inPlace))
			NewWithT(t).Expect(got).To(Equal([]difference{{"", v1alpha1.CauseMissing, test.want, "", ""}}))
		})
	}
}
