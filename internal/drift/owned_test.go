// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"math/rand/v2"
	"testing"

	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// foreign turns an object into a foreign one.
func foreign(live *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	live.ManagedFields = entriesOf(owns("kubectl-create", set, 1, path("spec", "ingress")))
	return live
}

func unlabelled(live *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	live.Labels = nil
	return live
}

func changed(live *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	live.Spec.Ingress = nobody()
	return live
}

func named(live *networkingv1.NetworkPolicy, namespace, name string) *networkingv1.NetworkPolicy {
	live.Namespace, live.Name = namespace, name
	return live
}

func labelledAs(live *networkingv1.NetworkPolicy, policy, component string) *networkingv1.NetworkPolicy {
	live.Labels = map[string]string{v1alpha1.LabelPolicy: policy, v1alpha1.LabelComponent: component}
	return live
}

func TestWhichNetworkPoliciesAreWrittenAndDeleted(t *testing.T) {
	const ours, gone, copied = "kube-system/cpnp.dns.coredns", "kube-system/cpnp.dns.former", "shop/cpnp.dns.coredns"
	owner, network := rendered(policy("dns", protects("coredns")))
	desired := network.Objects[0]
	former := func() *networkingv1.NetworkPolicy {
		return labelledAs(named(written(desired), "kube-system", "cpnp.dns.former"), "dns", "former")
	}
	holding := plan.Network{Held: []plan.Held{{Component: "former"}}}

	tests := map[string]struct {
		network plan.Network
		live    []*networkingv1.NetworkPolicy
		writes  []string
		deletes []string
		taken   []string
	}{
		"A missing NetworkPolicy is written":                          {network, nil, []string{ours}, nil, nil},
		"A NetworkPolicy as declared is left alone":                   {network, []*networkingv1.NetworkPolicy{written(desired)}, nil, nil, nil},
		"A changed NetworkPolicy is written":                          {network, []*networkingv1.NetworkPolicy{changed(written(desired))}, []string{ours}, nil, nil},
		"A NetworkPolicy that lost its labels is still managed":       {network, []*networkingv1.NetworkPolicy{unlabelled(written(desired))}, []string{ours}, nil, nil},
		"A NetworkPolicy with the operator's label may be taken over": {network, []*networkingv1.NetworkPolicy{changed(foreign(written(desired)))}, []string{ours}, nil, nil},
		"A foreign NetworkPolicy of the same name is left alone":      {network, []*networkingv1.NetworkPolicy{unlabelled(foreign(written(desired)))}, nil, nil, []string{ours}},
		"A NetworkPolicy for a component that is no longer declared is deleted": {
			network, []*networkingv1.NetworkPolicy{written(desired), former()}, nil, []string{gone}, nil,
		},
		"A NetworkPolicy for a component that cannot be rendered now is kept": {
			holding, []*networkingv1.NetworkPolicy{former()}, nil, nil, nil,
		},
		"A NetworkPolicy that is to be deleted is managed even without its labels": {
			network, []*networkingv1.NetworkPolicy{written(desired), unlabelled(former())}, nil, []string{gone}, nil,
		},
		"A held NetworkPolicy is kept even without its labels": {
			holding, []*networkingv1.NetworkPolicy{unlabelled(former())}, nil, nil, nil,
		},
		"A foreign copy under another name, with the operator's labels, is not deleted": {
			network, []*networkingv1.NetworkPolicy{written(desired), foreign(named(written(desired), "kube-system", "copy"))}, nil, nil, nil,
		},
		"A foreign copy in another namespace, with the operator's labels, is not deleted": {
			network, []*networkingv1.NetworkPolicy{written(desired), foreign(named(written(desired), "shop", "cpnp.dns.coredns"))}, nil, nil, nil,
		},
		"A NetworkPolicy of another policy is not deleted": {
			network, []*networkingv1.NetworkPolicy{written(desired), labelledAs(named(written(desired), "kube-system", "cpnp.dns2.a"), "dns2", "a")},
			nil, nil, nil,
		},
		"A NetworkPolicy of another policy is not deleted after its label was changed to this policy": {
			network, []*networkingv1.NetworkPolicy{written(desired), named(written(desired), "kube-system", "cpnp.other.coredns")}, nil, nil, nil,
		},
		"A NetworkPolicy in the former namespace of a component is deleted": {
			network, []*networkingv1.NetworkPolicy{written(desired), named(written(desired), "shop", "cpnp.dns.coredns")}, nil, []string{copied}, nil,
		},
		"All NetworkPolicies are deleted where the policy calls for none": {
			plan.Network{}, []*networkingv1.NetworkPolicy{former(), written(desired)}, nil, []string{ours, gone}, nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var live []networkingv1.NetworkPolicy
			for _, object := range test.live {
				live = append(live, *object)
			}
			diff := drift.CompareNetworkPolicies(owner, test.network, live)
			g.Expect(objects(diff.Writes)).To(Equal(test.writes), "writes")
			g.Expect(objects(diff.Removals)).To(Equal(test.deletes), "deletes")
			var taken []string
			for _, name := range test.taken {
				taken = append(taken, "NetworkPolicy/"+name)
			}
			g.Expect(diff.Taken).To(Equal(taken), "taken")
		})
	}
}

func objects(writes []drift.Write) []string {
	var names []string
	for _, w := range writes {
		names = append(names, w.Object.Namespace+"/"+w.Object.Name)
	}
	return names
}

func TestWriteCarriesTheObjectItWasDecidedOn(t *testing.T) {
	g := NewWithT(t)
	owner, network := rendered(policy("dns", protects("coredns")))
	created := drift.CompareNetworkPolicies(owner, network, nil).Writes[0]
	g.Expect(created.Live).To(BeNil())
	g.Expect(created.LiveVersion()).To(BeEmpty())
	g.Expect(created.Desired).To(BeIdenticalTo(network.Objects[0]))

	live := []networkingv1.NetworkPolicy{*changed(written(network.Objects[0]))}
	updated := drift.CompareNetworkPolicies(owner, network, live).Writes[0]
	g.Expect(updated.Live).To(BeIdenticalTo(&live[0]))
	g.Expect(updated.LiveVersion()).To(Equal("7"))

	deleted := drift.CompareNetworkPolicies(owner, plan.Network{}, live).Removals[0]
	g.Expect(deleted.Desired).To(BeNil())
	g.Expect(deleted.LiveVersion()).To(Equal("7"))
	g.Expect(deleted.Findings).To(HaveExactElements(And(
		HaveField("Cause", v1alpha1.CauseUnexpected), HaveField("State", v1alpha1.StatePending), HaveField("Field", ""))))

	auditor, _ := rendered(policy("dns", audits))
	g.Expect(drift.CompareNetworkPolicies(auditor, plan.Network{}, live).Removals[0].Findings).To(HaveExactElements(HaveField("State", v1alpha1.StateDrifted)))
}

func TestOrderOfTheCacheDoesNotMatter(t *testing.T) {
	owner, network := rendered(policy("dns", protects("a", "b", "c", "d")))
	var live []networkingv1.NetworkPolicy
	for _, object := range network.Objects {
		live = append(live, *written(object))
	}
	for seed := range uint64(20) {
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
		NewWithT(t).Expect(objects(drift.CompareNetworkPolicies(owner, plan.Network{}, live).Removals)).To(Equal([]string{
			"kube-system/cpnp.dns.a", "kube-system/cpnp.dns.b", "kube-system/cpnp.dns.c", "kube-system/cpnp.dns.d",
		}))
	}
}

func TestMissingNetworkPolicyHasDriftedIfTheStatusShowsThatItExisted(t *testing.T) {
	counts := func(declared, inSync int32) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Status.NetworkPolicies = v1alpha1.SyncCount{Declared: ptr.To(declared), InSync: ptr.To(inSync)}
		}
	}
	lists := func(name string, state v1alpha1.DriftState) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Status.Drift = append(p.Status.Drift, v1alpha1.Drift{Kind: "NetworkPolicy", Namespace: "kube-system", Name: name, State: state})
		}
	}
	rolledBack := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionProgrammed, Status: "False", Reason: v1alpha1.ReasonRolledBack}}
	}
	tests := map[string]struct {
		edits []edit
		want  v1alpha1.DriftState
	}{
		"All were in place, and were rolled back since":     {[]edit{counts(1, 1), rolledBack}, v1alpha1.StatePending},
		"All were in place":                                 {[]edit{counts(1, 1)}, v1alpha1.StateDrifted},
		"The count was right, and no object was called for": {[]edit{counts(0, 0)}, v1alpha1.StatePending},
		"The object had drifted":                            {[]edit{counts(2, 1), lists("cpnp.dns.coredns", v1alpha1.StateDrifted)}, v1alpha1.StateDrifted},
		"The object was contested":                          {[]edit{counts(2, 1), lists("cpnp.dns.coredns", v1alpha1.StateContested)}, v1alpha1.StateDrifted},
		"Some object was not in place, perhaps this one":    {[]edit{counts(2, 1)}, v1alpha1.StatePending},
		"The object was pending":                            {[]edit{counts(2, 1), lists("cpnp.dns.coredns", v1alpha1.StatePending)}, v1alpha1.StatePending},
		"Another object had drifted":                        {[]edit{counts(2, 1), lists("cpnp.dns.other", v1alpha1.StateDrifted)}, v1alpha1.StatePending},
		"All were in place, for another generation":         {[]edit{counts(1, 1), editedSince}, v1alpha1.StatePending},
		"The object had drifted, for another generation":    {[]edit{counts(2, 1), lists("cpnp.dns.coredns", v1alpha1.StateDrifted), editedSince}, v1alpha1.StatePending},
		"No report yet":                                     {nil, v1alpha1.StatePending},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			owner, network := rendered(policy("dns", append(test.edits, protects("coredns"))...))
			findings := drift.CompareNetworkPolicies(owner, network, nil).Writes[0].Findings
			NewWithT(t).Expect(findings).To(HaveExactElements(HaveField("State", test.want)))
		})
	}
}

// A forged status changes what is reported, but not what is written.
func TestForgedStatusWritesNothing(t *testing.T) {
	g := NewWithT(t)
	forged := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Status.NetworkPolicies = v1alpha1.SyncCount{Declared: ptr.To[int32](2), InSync: ptr.To[int32](2)}
		for _, name := range []string{"cpnp.dns.a", "cpnp.dns.b", "other"} {
			p.Status.Drift = append(p.Status.Drift, v1alpha1.Drift{Kind: "NetworkPolicy", Namespace: "kube-system", Name: name, State: v1alpha1.StateDrifted})
		}
	}
	owner, network := rendered(policy("dns", protects("a", "b")))
	deceived, _ := rendered(policy("dns", protects("a", "b"), forged))
	live := []networkingv1.NetworkPolicy{
		*written(network.Objects[0]), *named(written(network.Objects[0]), "kube-system", "other"), *foreign(named(written(network.Objects[0]), "shop", "cpnp.dns.a")),
	}
	for _, there := range [][]networkingv1.NetworkPolicy{nil, live[:1], live} {
		honest, misled := drift.CompareNetworkPolicies(owner, network, there), drift.CompareNetworkPolicies(deceived, network, there)
		g.Expect(objects(misled.Writes)).To(Equal(objects(honest.Writes)))
		g.Expect(objects(misled.Removals)).To(Equal(objects(honest.Removals)))
	}
}

// A removal by the operator itself is no drift, in any mode.
func TestRollBackIsNoDrift(t *testing.T) {
	audits := func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Mode = v1alpha1.ModeAudit }
	reverts := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Annotations = map[string]string{v1alpha1.AnnotationRevert: "paged at night"}
	}
	for name, test := range map[string]struct {
		edits []edit
		want  v1alpha1.DriftState
	}{
		"Enforce":                {nil, v1alpha1.StatePending},
		"Audit":                  {[]edit{audits}, v1alpha1.StateDrifted},
		"Audit, and rolled back": {[]edit{audits, reverts}, v1alpha1.StatePending},
	} {
		t.Run(name, func(t *testing.T) {
			_, network := rendered(policy("dns", protects("coredns")))
			owner := compile(policy("dns", test.edits...))
			removals := drift.CompareNetworkPolicies(&owner[0], plan.Network{}, []networkingv1.NetworkPolicy{*written(network.Objects[0])}).Removals
			g := NewWithT(t)
			g.Expect(removals).To(HaveLen(1))
			g.Expect(removals[0].Findings).To(HaveExactElements(HaveField("State", test.want)))
		})
	}
}
