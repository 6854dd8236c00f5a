// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const controlPlane = "node-role.kubernetes.io/control-plane"

type edit func(*v1alpha1.ControlPlaneNetworkPolicy)

// policy returns a policy for which everything may be written: it selects
// control-plane nodes, enforces, and has been verified.
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
func unverifiedBecause(reason string) edit {
	return func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Status.Conditions[0].Status, p.Status.Conditions[0].Reason = metav1.ConditionUnknown, reason
	}
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

func TestPolicyIsWritableOnlyWhereEveryGateIsOpen(t *testing.T) {
	for name, test := range map[string]struct {
		edits    []edit
		writable bool
	}{
		"The policy enforces, and is verified for this generation":            {nil, true},
		"The policy is in mode Audit":                                         {[]edit{audits}, false},
		"The policy is suspended":                                             {[]edit{suspend}, false},
		"The policy is rolled back":                                           {[]edit{reverted("paged at night")}, false},
		"The policy is being deleted":                                         {[]edit{deleted}, false},
		"The policy has no finalizer, so that a deletion would not roll back": {[]edit{withoutFinalizer}, false},
		"The policy was found unsafe":                                         {[]edit{unverified}, false},
		"Calico cannot be read for the hosts of the policy":                   {[]edit{unverifiedBecause(v1alpha1.ReasonCalicoUnavailable)}, true},
		"The hosts of the policy wait for a profile":                          {[]edit{unverifiedBecause(v1alpha1.ReasonProfileUnknown)}, true},
		"The hosts of the policy may be cut off":                              {[]edit{unverifiedBecause(v1alpha1.ReasonRequiredFlowCut)}, false},
		"The policy was never reported on":                                    {[]edit{neverReported}, false},
		"The policy was verified for another generation":                      {[]edit{editedSince}, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(compile(policy("p", test.edits...))[0].IsWritable()).To(Equal(test.writable))
		})
	}
}

func TestIntentOfAPolicy(t *testing.T) {
	why := reverted(" paged at night ")
	for name, test := range map[string]struct {
		edits  []edit
		intent intent.Intent
	}{
		"enforcing":                                 {nil, intent.Enforce},
		"enforcing, never reported on":              {[]edit{neverReported}, intent.Enforce},
		"enforcing, without finalizer":              {[]edit{withoutFinalizer}, intent.Enforce},
		"auditing":                                  {[]edit{audits}, intent.Audit},
		"suspended":                                 {[]edit{suspend}, intent.Suspend},
		"auditing and suspended":                    {[]edit{audits, suspend}, intent.Suspend},
		"annotated":                                 {[]edit{why}, intent.RollBack},
		"annotated with a blank reason":             {[]edit{reverted(" ")}, intent.Enforce},
		"annotated, suspended":                      {[]edit{why, suspend}, intent.RollBack},
		"annotated with a blank reason, suspended":  {[]edit{reverted(""), suspend}, intent.Suspend},
		"annotated, auditing":                       {[]edit{why, audits}, intent.RollBack},
		"annotated, without finalizer":              {[]edit{why, withoutFinalizer}, intent.RollBack},
		"deleted":                                   {[]edit{deleted}, intent.Delete},
		"deleted, auditing":                         {[]edit{deleted, audits}, intent.Delete},
		"deleted, unverified":                       {[]edit{deleted, unverified}, intent.Delete},
		"deleted, orphaning":                        {[]edit{deleted, orphans}, intent.Orphan},
		"deleted, suspended":                        {[]edit{deleted, suspend}, intent.Orphan},
		"deleted before the first write":            {[]edit{deleted, withoutFinalizer}, intent.Orphan},
		"deleted, orphaning, annotated":             {[]edit{why, deleted, orphans}, intent.Delete},
		"deleted, suspended, annotated":             {[]edit{why, deleted, suspend}, intent.Delete},
		"deleted, orphaning, annotated with spaces": {[]edit{reverted(" "), deleted, orphans}, intent.Orphan},
		"deleted, annotated with spaces":            {[]edit{reverted(" "), deleted}, intent.Delete},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := compile(policy("p", test.edits...))[0]
			g.Expect(p.Intent()).To(Equal(test.intent))
			g.Expect(p.Enforces()).To(Equal(test.intent == intent.Enforce))
			g.Expect(p.RollsBack()).To(Equal(test.intent == intent.RollBack || test.intent == intent.Delete))
			g.Expect(p.Claims()).To(Equal(test.intent == intent.Enforce || test.intent == intent.Audit || test.intent == intent.Suspend))
		})
	}
	g := NewWithT(t)
	p := compile(policy("p", why))[0]
	g.Expect(p.RollBackReason()).To(Equal("paged at night"))
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
			g.Expect(policies[0].SelectsNode(node)).To(BeFalse())
			g.Expect(plan.TaintClaims(node, policies)).To(BeEmpty())
			g.Expect(plan.ServiceClaims(service(corev1.ServiceTypeClusterIP), policies)).To(BeEmpty())
			g.Expect(plan.NetworkPolicies(&policies[0], policies, state.Snapshot{Nodes: []*corev1.Node{node}})).To(Equal(plan.Network{}))
		})
	}
}

func TestFindReturnsThePolicyOfThatName(t *testing.T) {
	g := NewWithT(t)
	policies := compile(policy("a"), policy("b"))
	g.Expect(plan.FindPolicy(policies, "b")).To(BeIdenticalTo(&policies[1]))
	g.Expect(plan.FindPolicy(policies, "c")).To(BeNil())
}
