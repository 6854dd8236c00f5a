// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const controlPlane = "node-role.kubernetes.io/control-plane"

type edit func(*v1alpha1.ControlPlaneNetworkPolicy)

// policy returns one that selects control-plane nodes, enforces, and has been
// verified: everything may be written for it.
func policy(name string, edits ...edit) v1alpha1.ControlPlaneNetworkPolicy {
	p := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 3, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:           v1alpha1.ModeEnforce,
			NodeSelector:   labelled(controlPlane, ""),
			DeletionPolicy: v1alpha1.DeletionRevert,
		},
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 3},
		}},
	}
	for _, edit := range edits {
		edit(&p)
	}
	return p
}

func labelled(key string, value v1alpha1.LabelValue) v1alpha1.LabelSelector {
	return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: value}}
}

func audits(p *v1alpha1.ControlPlaneNetworkPolicy)  { p.Spec.Mode = v1alpha1.ModeAudit }
func suspend(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Suspend = true }
func orphans(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }
func deleted(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
}
func reverted(why string) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Annotations = map[string]string{v1alpha1.AnnotationRevert: why}
	}
}
func withoutFinalizer(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Finalizers = nil }
func unverified(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Status.Conditions[0].Status = metav1.ConditionFalse
}
func neverReported(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.Conditions = nil }
func editedSince(p *v1alpha1.ControlPlaneNetworkPolicy)   { p.Generation++ }
func selectsBadly(p *v1alpha1.ControlPlaneNetworkPolicy)  { p.Spec.NodeSelector = labelled("-bad-", "") }
func selectsWorkers(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.NodeSelector = labelled("worker", "")
}

func taints(taints ...v1alpha1.Taint) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Taints = taints }
}

func services(rules ...v1alpha1.ServiceTrafficPolicy) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Services = rules }
}

func components(components ...v1alpha1.Component) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network = &v1alpha1.NetworkSpec{Components: components}
	}
}

func compile(policies ...v1alpha1.ControlPlaneNetworkPolicy) []plan.Policy {
	return plan.Compile(policies)
}

func TestPolicyIsWrittenForOnlyWhereEveryGateIsOpen(t *testing.T) {
	tests := map[string]struct {
		edits                       []edit
		enforces, writable, reverts bool
	}{
		"An enforcing policy, verified for this generation, is written for": {nil, true, true, false},
		"One that audits is not":                                             {[]edit{audits}, false, false, false},
		"One that is suspended is not":                                       {[]edit{suspend}, false, false, false},
		"One without the finalizer is not, because nothing would be undone":  {[]edit{withoutFinalizer}, true, false, false},
		"One that was found unsafe is not":                                   {[]edit{unverified}, true, false, false},
		"One that was never reported on is not":                              {[]edit{neverReported}, true, false, false},
		"One that was verified for another generation is not":                {[]edit{editedSince}, true, false, false},
		"One that is being deleted is taken back instead":                    {[]edit{deleted}, false, false, true},
		"One that is being deleted and orphans is neither":                   {[]edit{deleted, orphans}, false, false, false},
		"One that is being deleted while suspended is neither":               {[]edit{deleted, suspend}, false, false, false},
		"One that is being deleted without the finalizer wrote nothing":      {[]edit{deleted, withoutFinalizer}, false, false, false},
		"One that audits when it is deleted takes back what it wrote before": {[]edit{deleted, audits}, false, false, true},
		"One that is being deleted unverified takes back what it wrote":      {[]edit{deleted, unverified}, false, false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := compile(policy("p", test.edits...))[0]
			g.Expect(p.Enforces()).To(Equal(test.enforces), "Enforces")
			g.Expect(p.Writable()).To(Equal(test.writable), "Writable")
			g.Expect(p.Reverts()).To(Equal(test.reverts), "Reverts")
		})
	}
}

func TestAnnotationTakesBackWhateverTheSpecSays(t *testing.T) {
	why := reverted(" paged at night ")
	tests := map[string]struct {
		edits                     []edit
		why                       string
		active, enforces, reverts bool
	}{
		"Without the annotation":                   {nil, "", true, true, false},
		"With a reason":                            {[]edit{why}, "paged at night", false, false, true},
		"With a blank one":                         {[]edit{reverted(" ")}, "", true, true, false},
		"While suspended":                          {[]edit{why, suspend}, "paged at night", false, false, true},
		"With a blank one while suspended":         {[]edit{reverted(""), suspend}, "", true, false, false},
		"In Audit":                                 {[]edit{why, audits}, "paged at night", false, false, true},
		"While it is being deleted and orphans":    {[]edit{why, deleted, orphans}, "paged at night", false, false, true},
		"While it is being deleted and suspended":  {[]edit{why, deleted, suspend}, "paged at night", false, false, true},
		"Without the finalizer: it stays anyway":   {[]edit{why, withoutFinalizer}, "paged at night", false, false, true},
		"Deleted with a blank one, which orphans":  {[]edit{reverted(" "), deleted, orphans}, "", false, false, false},
		"Deleted with a blank one, which does not": {[]edit{reverted(" "), deleted}, "", false, false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := compile(policy("p", test.edits...))[0]
			g.Expect(p.TakenBack()).To(Equal(test.why), "TakenBack")
			g.Expect(p.Active()).To(Equal(test.active), "Active")
			g.Expect(p.Enforces()).To(Equal(test.enforces), "Enforces")
			g.Expect(p.Reverts()).To(Equal(test.reverts), "Reverts")
		})
	}
}

func TestPolicyWithABadSelectorClaimsNothing(t *testing.T) {
	badService := v1alpha1.ServiceTrafficPolicy{Name: "web", Selector: labelled("-bad-", ""), InternalTrafficPolicy: "Local"}
	badNamespace := v1alpha1.ServiceTrafficPolicy{Name: "web", Selector: labelled("app", "web"), InternalTrafficPolicy: "Local"}
	bad := labelled("-bad-", "")
	badNamespace.NamespaceSelector = &bad
	badPods := v1alpha1.Component{Name: "dns", Pods: &v1alpha1.PodSelector{Namespace: "kube-system", Selector: bad}}
	tests := map[string]struct {
		edits edit
		field string
	}{
		"because of nodeSelector":  {selectsBadly, "spec.nodeSelector: "},
		"because of a component's": {components(badPods), "spec.network.components[dns].pods.selector: "},
		"because of a Service's":   {services(badService), "spec.services[web].selector: "},
		"because of a namespace's": {services(badNamespace), "spec.services[web].namespaceSelector: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			good := v1alpha1.ServiceTrafficPolicy{Name: "all", Selector: labelled("app", "web"), InternalTrafficPolicy: "Local"}
			addGood := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.Services = append([]v1alpha1.ServiceTrafficPolicy{good}, p.Spec.Services...)
			}
			policies := compile(policy("p", taints(v1alpha1.Taint{Key: "a", Effect: "NoSchedule"}), test.edits, addGood))
			g.Expect(policies[0].Invalid).To(MatchError(HavePrefix(test.field)))
			node := node("cp-1")
			g.Expect(policies[0].Selects(&node)).To(BeFalse())
			g.Expect(plan.Taints(&node, policies)).To(BeEmpty())
			g.Expect(plan.Service(service(corev1.ServiceTypeClusterIP), policies)).To(BeEmpty())
			g.Expect(plan.Networks(&policies[0], policies, state.Snapshot{Nodes: []corev1.Node{node}})).To(Equal(plan.Network{}))
		})
	}
}

func TestFindReturnsThePolicyOfThatName(t *testing.T) {
	g := NewWithT(t)
	policies := compile(policy("a"), policy("b"))
	g.Expect(plan.Find(policies, "b")).To(BeIdenticalTo(&policies[1]))
	g.Expect(plan.Find(policies, "c")).To(BeNil())
}
