// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const external = plan.ExternalTrafficPolicy

var (
	externalPath    = path("spec", external)
	lastAppliedPath = path("metadata", "annotations", corev1.LastAppliedConfigAnnotation)
	trackingPath    = path("metadata", "annotations", state.AnnotationArgoTracking)
	recordOfLocal   = map[string]string{v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"p","applied":"Local","original":"Cluster"}}`}
)

func lastApplied(spec string) map[string]string {
	return map[string]string{corev1.LastAppliedConfigAnnotation: `{"kind":"Service","spec":` + spec + `}`}
}

func joinedMaps(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// Policy p wants Local on a Service that has Cluster.
func TestDeclaredFieldsAreLeftAloneAndDefaultsAreOverwritten(t *testing.T) {
	const (
		conflicted, pending, drifted = v1alpha1.StateConflicted, v1alpha1.StatePending, v1alpha1.StateDrifted
		kubectl, argoCD              = "kubectl-client-side-apply", "argocd-controller"
	)
	type managers = []metav1.ManagedFieldsEntry
	applied := func(manager string) managers { return managers{owns(manager, set, 1, externalPath, lastAppliedPath)} }
	tests := map[string]struct {
		annotations map[string]string
		managers    managers
		live, want  string // Cluster and Local, if empty
		remembered  bool   // whether the operator remembers that it wrote Local
		override    bool
		state       v1alpha1.DriftState
		by          string
	}{
		"Argo CD applies it on the client side": {annotations: lastApplied(`{"externalTrafficPolicy":"Cluster"}`),
			managers: applied(argoCD), state: conflicted, by: argoCD},
		"kubectl applied it": {annotations: lastApplied(`{"externalTrafficPolicy":"Cluster"}`),
			managers: applied(kubectl), state: conflicted, by: kubectl},
		"it was applied, and edited since": {annotations: lastApplied(`{"externalTrafficPolicy":"Cluster"}`),
			managers: managers{owns(argoCD, set, 1, lastAppliedPath), owns("kubectl-edit", set, 2, externalPath)}, state: conflicted, by: argoCD},
		"it was applied by an unknown manager": {annotations: lastApplied(`{"externalTrafficPolicy":"Cluster"}`),
			state: conflicted, by: "a client-side apply"},
		"it is applied, and the policy overrides": {annotations: lastApplied(`{"externalTrafficPolicy":"Cluster"}`),
			managers: applied(argoCD), override: true, state: pending, by: argoCD},
		"it is applied, and was overridden before": {annotations: joinedMaps(recordOfLocal, lastApplied(`{"externalTrafficPolicy":"Cluster"}`)),
			managers: applied(argoCD), override: true, state: drifted, by: argoCD},
		"it is applied with the value of the policy, and was edited": {annotations: lastApplied(`{"externalTrafficPolicy":"Local"}`),
			managers: managers{owns("kubectl-edit", set, 2, externalPath)}, state: pending, by: "kubectl-edit"},
		"the default: kubectl applied other fields": {annotations: lastApplied(`{"type":"NodePort"}`),
			managers: applied(kubectl), state: pending, by: kubectl},
		"the default: Argo CD applied other fields": {annotations: lastApplied(`{"type":"NodePort"}`),
			managers: applied(argoCD), state: pending, by: argoCD},
		"it was removed from git": {annotations: joinedMaps(recordOfLocal, lastApplied(`{}`)),
			managers: applied(argoCD), state: drifted, by: argoCD},
		"it is null in git": {annotations: lastApplied(`{"externalTrafficPolicy":null}`), managers: applied(argoCD), state: pending, by: argoCD},
		"the annotation cannot be read": {annotations: map[string]string{corev1.LastAppliedConfigAnnotation: `{"spec":`},
			managers: applied(kubectl), state: pending, by: kubectl},
		"the annotation has a spec that is no object": {annotations: lastApplied(`["externalTrafficPolicy"]`),
			managers: applied(kubectl), state: pending, by: kubectl},
		"the annotation is longer than any real one": {
			annotations: lastApplied(`{"externalTrafficPolicy":"Cluster","x":"` + strings.Repeat("x", 70_000) + `"}`),
			managers:    applied(kubectl), state: pending, by: kubectl},

		"Argo CD replaces it, for the first time": {managers: managers{owns(argoCD, set, 1, externalPath)}, state: pending, by: argoCD},
		"Argo CD replaced the written value": {managers: managers{owns(argoCD, set, 1, externalPath)}, remembered: true,
			state: conflicted, by: argoCD},
		"Helm restored the value in the record": {annotations: recordOfLocal, managers: managers{owns("helm", set, 1, externalPath)},
			state: conflicted, by: "helm"},
		"Helm set a value other than the default": {managers: managers{owns("helm", set, 1, externalPath)}, live: "Local", want: "Cluster",
			state: conflicted, by: "helm"},
		"an installer that uses Helm set it": {
			managers: managers{owns("installer", set, 1, externalPath, path("metadata", "annotations", state.AnnotationHelmRelease))},
			live:     "Local", want: "Cluster", state: conflicted, by: "installer"},
		"whoever set Argo CD's mark restored the value": {annotations: recordOfLocal,
			managers: managers{owns("fork", set, 1, externalPath, trackingPath)}, state: conflicted, by: "fork"},
		"whoever set Flux's mark restored the value": {annotations: recordOfLocal,
			managers: managers{owns("fork", set, 1, externalPath, path("metadata", "labels", state.LabelFluxKustomization))},
			state:    conflicted, by: "fork"},
		"somebody edited it on an object that Argo CD tracks": {annotations: recordOfLocal,
			managers: managers{owns("kubectl-edit", set, 2, externalPath), owns(argoCD, set, 1, trackingPath)}, state: drifted, by: "kubectl-edit"},
		"the label that many charts set is no mark": {annotations: recordOfLocal,
			managers: managers{owns("somebody", set, 1, externalPath, path("metadata", "labels", "app.kubernetes.io/instance"))},
			state:    drifted, by: "somebody"},
		"somebody edited the written value": {remembered: true, managers: managers{owns("kubectl-edit", set, 1, externalPath)},
			state: drifted, by: "kubectl-edit"},
		"a server-side apply declares it": {managers: managers{owns("terraform", apply, 1, externalPath)}, state: conflicted, by: "terraform"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			live, want := test.live, test.want
			if live == "" {
				live, want = "Cluster", "Local"
			}
			service := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: test.annotations, ManagedFields: test.managers},
				Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicy(live)},
			}
			for _, cached := range []bool{false, true} {
				if cached {
					slim, err := state.TransformService(service)
					g.Expect(err).NotTo(HaveOccurred())
					service = slim.(*corev1.Service)
				}
				shared := drift.SharedService(service)
				if test.remembered {
					shared.Remembered = func(string) (state.RecordEntry, bool) { return *done("p", "Local", "Cluster"), true }
				}
				policies := compile(policy("p"))
				outcome := drift.CompareFields(shared, []plan.Claim{{Field: external, Want: want, Policy: &policies[0], Override: test.override}}, policies)
				g.Expect(outcome.Findings).To(HaveLen(1))
				g.Expect(outcome.Findings[0].State).To(Equal(test.state), "cached: %v", cached)
				g.Expect(outcome.Findings[0].By.Name).To(Equal(test.by))
				g.Expect(outcome.Set).To(HaveLen(btoi(test.state != conflicted)))
				if test.remembered {
					g.Expect(outcome.Remember).To(HaveKey(external), "the operator continues to remember the write")
				}
			}
		})
	}
}

// A node lacks the taint that policy p wants, or has another value of it.
func TestTaintsDeclaredElsewhereAreLeftAlone(t *testing.T) {
	const field, argoCD = "dedicated:NoSchedule", "argocd-controller"
	const conflicted, pending, drifted = v1alpha1.StateConflicted, v1alpha1.StatePending, v1alpha1.StateDrifted
	const without = argoCD + " declares spec.taints without it: declare it there too, or remove spec.taints there"
	taintsPath := path("spec", "taints")
	wrote := state.Record{field: *done("p", "", "")}
	other := []corev1.Taint{{Key: "dedicated", Value: "x", Effect: "NoSchedule"}}
	theirs := []corev1.Taint{{Key: "theirs", Effect: "NoSchedule"}}
	gitHasOther := lastApplied(`{"taints":[{"key":"dedicated","value":"x","effect":"NoSchedule"}]}`)
	gitHasTheirs := lastApplied(`{"taints":[{"key":"theirs","effect":"NoSchedule"}]}`)
	tests := map[string]struct {
		annotations map[string]string
		manager     metav1.ManagedFieldsEntry
		taints      []corev1.Taint
		record      state.Record
		unwritten   bool
		state       v1alpha1.DriftState
		says        string
	}{
		// Somebody with the right to taints has removed the written taint.
		"git declares other taints": {annotations: gitHasTheirs, manager: owns(argoCD, set, 1, taintsPath, lastAppliedPath), record: wrote,
			state: conflicted, says: without},
		"git declares an empty list of taints": {annotations: lastApplied(`{"taints":[]}`), manager: owns(argoCD, set, 1, lastAppliedPath), record: wrote,
			state: conflicted, says: without},
		"git declares a list that is too long to be read": {annotations: lastApplied(`{"taints":[` + strings.Repeat(`{"key":"theirs","effect":"NoSchedule"},`, 200) + `{}]}`),
			manager: owns(argoCD, set, 1, lastAppliedPath), record: wrote, state: conflicted, says: without},
		"a server-side apply declares the list": {manager: owns(argoCD, apply, 1, taintsPath), record: wrote, state: conflicted, says: without},
		"Argo CD replaces the node":             {manager: owns(argoCD, set, 1, taintsPath), taints: theirs, record: wrote, state: conflicted, says: without},
		"git declares the same taint, which was removed": {annotations: lastApplied(`{"taints":[{"key":"dedicated","effect":"NoSchedule"}]}`),
			manager: owns("kubectl-taint", set, 1, taintsPath), record: wrote, state: drifted},
		"somebody removed the taint": {manager: owns("kubectl-taint", set, 1, taintsPath), taints: theirs, record: wrote, state: drifted},

		// The node has another value, which its kubelet cannot have written.
		"git declares another value": {annotations: gitHasOther, manager: owns(argoCD, set, 1, taintsPath, lastAppliedPath), taints: other,
			state: conflicted, says: argoCD + " declares it as x: declare the same value there, or remove the taint here"},
		"a server-side apply declares another value": {manager: owns(argoCD, apply, 1, taintsPath), taints: other,
			state: conflicted, says: argoCD + " declares it as x: declare the same value there, or remove the taint here"},
		"Argo CD has set another value": {manager: owns(argoCD, set, 1, taintsPath), taints: other,
			state: conflicted, says: argoCD + " declares it as x: declare the same value there, or remove the taint here"},

		// A kubelet can write all of the following.
		"a claim of the kubelet: git declares other taints":                    {annotations: gitHasTheirs, manager: owns(argoCD, set, 1, taintsPath, lastAppliedPath), taints: theirs, state: pending},
		"a claim of the kubelet: git declares no taints":                       {annotations: lastApplied(`{"taints":[]}`), manager: owns(argoCD, set, 1, lastAppliedPath), state: pending},
		"a claim of the kubelet: git declares another value":                   {annotations: gitHasOther, manager: owns(argoCD, set, 1, lastAppliedPath), state: pending},
		"a claim of the kubelet: the present value is not from git":            {annotations: gitHasTheirs, manager: owns(argoCD, set, 1, lastAppliedPath), taints: other, state: pending},
		"a list that is applied unchanged":                                     {manager: owns("gitops", apply, 1, taintsPath), taints: theirs, state: pending},
		"a tool as the manager of the list":                                    {manager: owns(argoCD, set, 1, taintsPath), taints: theirs, state: pending},
		"a list that is applied unchanged, and the first write failed":         {manager: owns("gitops", apply, 1, taintsPath), record: wrote, unwritten: true, state: pending},
		"the first write failed":                                               {manager: owns("kubectl-taint", set, 1, taintsPath), taints: theirs, record: wrote, unwritten: true, state: pending},
		"a list that is applied unchanged, and another policy wrote the taint": {manager: owns("gitops", apply, 1, taintsPath), record: state.Record{field: *done("q", "", "")}, state: pending},
		"a list that is applied unchanged, and another value was written":      {manager: owns("gitops", apply, 1, taintsPath), record: state.Record{field: *done("p", "before", "")}, state: pending},

		"git declares the same taint": {annotations: lastApplied(`{"taints":[{"key":"dedicated","effect":"NoSchedule"}]}`),
			manager: owns("kubectl-taint", set, 1, taintsPath), state: pending},
		"git declares the node without taints": {annotations: lastApplied(`{}`), manager: owns(argoCD, set, 1, taintsPath, lastAppliedPath), state: pending},
		"somebody sets a taint":                {manager: owns("kubectl-taint", set, 1, taintsPath), taints: theirs, state: pending},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			node := &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "cp-1", Annotations: test.annotations, ManagedFields: entriesOf(test.manager)},
				Spec:       corev1.NodeSpec{Taints: test.taints},
			}
			for _, cached := range []bool{false, true} {
				if cached {
					slim, err := state.TransformNode(node)
					g.Expect(err).NotTo(HaveOccurred())
					node = slim.(*corev1.Node)
				}
				policies := compile(policy("p"))
				shared := drift.SharedNode(node, test.record)
				shared.Unwritten = func(string) bool { return test.unwritten }
				outcome := drift.CompareFields(shared, []plan.Claim{{Field: field, Policy: &policies[0]}}, policies)
				g.Expect(outcome.Findings).To(ConsistOf(And(HaveField("State", test.state), HaveField("Message", test.says))), "cached: %v", cached)
				g.Expect(outcome.Set).To(HaveLen(btoi(test.state != conflicted)))
			}
		})
	}
}

// When an object is replaced, its record is lost. The operator's remembered
// writes then distinguish drift from new intent, and hold the original.
func TestRememberedWritesReplaceALostRecord(t *testing.T) {
	remembered := func(entry *state.RecordEntry) func(string) (state.RecordEntry, bool) {
		return func(string) (state.RecordEntry, bool) { return *entry, true }
	}
	outcomeOf := func(live string, memory *state.RecordEntry) drift.Outcome {
		policies := compile(policy("p"))
		shared := situation{live: live, by: kubectl}.shared()
		shared.Remembered = remembered(memory)
		return drift.CompareFields(shared, []plan.Claim{{Field: "f", Want: "want", Policy: &policies[0]}}, policies)
	}
	g := NewWithT(t)
	g.Expect(resultOf(outcomeOf("theirs", done("p", "want", "old")))).To(Equal(result{
		state: v1alpha1.StateDrifted, cause: v1alpha1.CauseModified, set: "want", record: done("p", "want", "theirs"),
	}), "whoever replaced the object has set another original there")
	g.Expect(resultOf(outcomeOf("want", done("p", "want", "old")))).To(Equal(result{record: done("p", "want", "old")}),
		"only the record was taken away")
	g.Expect(resultOf(outcomeOf("theirs", done("q", "want", "old"))).state).To(Equal(v1alpha1.StatePending), "another policy made the write")
	g.Expect(resultOf(outcomeOf("theirs", done("p", "before", "old"))).state).To(Equal(v1alpha1.StatePending), "the policy has a new declaration now")
}

// A release that another manager's ownership makes void does not count as a
// release, and a release does not overwrite what is declared elsewhere.
func TestReleaseOfAFieldThatOthersManageToo(t *testing.T) {
	tests := map[string]struct {
		managers []metav1.ManagedFieldsEntry
		applied  string
		kept     string
	}{
		"no other manager":                           {nil, "", ""},
		"another manager applies it":                 {entriesOf(owns("argocd-controller", apply, 1, externalPath)), "", "argocd-controller"},
		"another manager has set it":                 {entriesOf(owns("kubectl-edit", set, 1, externalPath)), "", "kubectl-edit"},
		"a client-side apply declares it":            {entriesOf(owns("argocd-controller", set, 1, lastAppliedPath)), `{"externalTrafficPolicy":"Local"}`, "argocd-controller"},
		"a client-side apply declares another value": {entriesOf(owns("argocd-controller", set, 1, lastAppliedPath)), `{"externalTrafficPolicy":"Cluster"}`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			annotations := recordOfLocal
			if test.applied != "" {
				annotations = joinedMaps(annotations, lastApplied(test.applied))
			}
			service := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: annotations, ManagedFields: test.managers},
				Spec:       corev1.ServiceSpec{ExternalTrafficPolicy: "Local"},
			}
			outcome := drift.CompareFields(drift.SharedService(service), nil, compile(policy("p", deleted)))
			g.Expect(outcome.Record).To(BeEmpty())
			if test.kept == "" {
				g.Expect(outcome.Set).To(HaveKeyWithValue(external, HaveValue(Equal("Cluster"))))
				g.Expect(outcome.Kept).To(BeEmpty())
				return
			}
			g.Expect(outcome.Set).To(BeEmpty())
			g.Expect(outcome.Kept).To(HaveLen(1))
			g.Expect(outcome.Kept[0].Policy).To(Equal("p"))
			g.Expect(outcome.Kept[0].DescribeKept()).To(Equal(
				"Service/shop/web externalTrafficPolicy was released and stays Local, because " + test.kept + " holds it too: change it there"))
		})
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "cp-1", ManagedFields: entriesOf(owns("kubectl-taint", set, 2, path("spec", "taints")))},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "a", Effect: "NoSchedule"}, {Key: "b", Effect: "NoSchedule"}}},
	}
	NewWithT(t).Expect(drift.CompareFields(drift.SharedNode(node, state.Record{"a:NoSchedule": *done("p", "", "")}), nil, compile(policy("p", deleted))).Set).To(HaveKeyWithValue("a:NoSchedule", BeNil()),
		"whoever wrote the list last holds no single taint")
	node.ManagedFields = entriesOf(owns("argocd-controller", set, 2, path("spec", "taints")))
	NewWithT(t).Expect(drift.CompareFields(drift.SharedNode(node, state.Record{"a:NoSchedule": *done("p", "", "")}), nil, compile(policy("p", deleted))).Set).To(BeEmpty(),
		"a tool that wrote the list last would put the taint back")
}

// A NetworkPolicy with the operator's name and label existed before the operator wrote one.
func TestNetworkPolicyOfOurNameDeclaredElsewhereIsNotTakenOver(t *testing.T) {
	ingress := path("spec", "ingress")
	const name = "kube-system/cpnp.dns.coredns"
	tests := map[string]struct {
		change func(*networkingv1.NetworkPolicy)
		by     string // empty: the operator takes it over
	}{
		"restored from a backup": {func(*networkingv1.NetworkPolicy) {}, ""},
		"applied on the client side": {func(n *networkingv1.NetworkPolicy) {
			n.Annotations = joinedMaps(n.Annotations, lastApplied(`{}`))
			n.ManagedFields = entriesOf(owns("argocd-controller", set, 1, ingress, lastAppliedPath))
		}, "argocd-controller"},
		"applied on the server side": {func(n *networkingv1.NetworkPolicy) {
			n.ManagedFields = entriesOf(owns("velero", set, 1, ingress), owns("kustomize-controller", apply, 2, ingress))
		}, "kustomize-controller"},
		"applied as a whole": {func(n *networkingv1.NetworkPolicy) {
			n.ManagedFields = entriesOf(owns("somebody", apply, 2, path("spec")))
		}, "somebody"},
		"replaced by Argo CD": {func(n *networkingv1.NetworkPolicy) {
			n.ManagedFields = entriesOf(owns("argocd-controller", set, 1, ingress))
		}, "argocd-controller"},
		"with a label that somebody applied": {func(n *networkingv1.NetworkPolicy) {
			n.ManagedFields = entriesOf(owns("somebody", apply, 1, path("metadata", "labels", "x")))
		}, ""},
		"tracked by Argo CD":         {annotated(state.AnnotationArgoTracking, "shop:networking.k8s.io/NetworkPolicy:"+name), drift.ToolArgo},
		"a copy of a tracked object": {annotated(state.AnnotationArgoTracking, "shop:networking.k8s.io/NetworkPolicy:kube-system/other"), ""},
		"of a Helm release": {func(n *networkingv1.NetworkPolicy) {
			annotated(state.AnnotationHelmRelease, "x")(n)
			n.Labels[state.LabelManagedBy] = "Helm"
		}, drift.ToolHelm},
		"with half of Helm's mark": {annotated(state.AnnotationHelmRelease, "x"), ""},
		"with a label of Flux":     {func(n *networkingv1.NetworkPolicy) { n.Labels[state.LabelFluxKustomization] = "x" }, drift.ToolFlux},
		"with the label instance":  {func(n *networkingv1.NetworkPolicy) { n.Labels["app.kubernetes.io/instance"] = "x" }, ""},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			g := NewWithT(t)
			owner, network := rendered(policy("dns", protects("coredns")))
			live := changed(written(network.Objects[0]))
			live.ManagedFields = entriesOf(owns("velero", set, 1, ingress))
			test.change(live)
			diff := drift.CompareNetworkPolicies(owner, network, []networkingv1.NetworkPolicy{*live})
			if test.by == "" {
				g.Expect(diff.Writes).To(HaveLen(1))
				g.Expect(diff.Taken).To(BeEmpty())
				return
			}
			g.Expect(diff.Writes).To(BeEmpty())
			g.Expect(diff.Taken).To(ConsistOf("NetworkPolicy/" + name + ", which " + test.by + " declares"))
			g.Expect(drift.CompareNetworkPolicies(owner, plan.Network{}, []networkingv1.NetworkPolicy{*live}).Removals).To(BeEmpty(), "a foreign object is not deleted with the policy")
		})
	}
}

func annotated(key, value string) func(*networkingv1.NetworkPolicy) {
	return func(n *networkingv1.NetworkPolicy) {
		n.Annotations = joinedMaps(n.Annotations, map[string]string{key: value})
	}
}

// An object of Calico has the operator's label and stamp, and is declared in git.
func TestCalicoObjectDeclaredElsewhereIsNotDeleted(t *testing.T) {
	g := NewWithT(t)
	there := everything(g)
	set := &there.Sets[0]
	set.ManagedFields = nil
	policies := compile(policy("dns"))
	names := func() []string {
		return steps(g, drift.CompareHosts(&policies[0], policies, plan.Hosts{}, there).Removals)
	}
	g.Expect(names()).To(ContainElement("delete " + set.Name))
	set.Annotations[corev1.LastAppliedConfigAnnotation] = "{}"
	g.Expect(names()).NotTo(ContainElement("delete " + set.Name))

	endpoint := &there.Endpoints[0]
	endpoint.ManagedFields = nil
	endpoint.Annotations[corev1.LastAppliedConfigAnnotation] = "{}"
	g.Expect(names()).To(ContainElement("delete "+endpoint.Name), "restored by kubectl: a denying object is deleted")
	endpoint.Labels[state.LabelFluxKustomization] = "x"
	g.Expect(names()).NotTo(ContainElement("delete "+endpoint.Name), "Flux would restore the object")

	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: calico.TierName, Labels: map[string]string{v1alpha1.LabelPolicy: "dns"}}}
	theirs := tier.DeepCopy()
	theirs.Annotations = lastApplied(`{}`)
	diff := drift.CompareHosts(&policies[0], policies, plan.Hosts{Objects: []plan.Object{tier}}, calico.Live{Mode: calico.Native, Tiers: []v3.Tier{*theirs}})
	g.Expect(diff.Taken).To(ConsistOf("Tier/cpnp, which a client-side apply declares"))
}

func TestFailsafePortsDeclaredElsewhereAreLeftAlone(t *testing.T) {
	ports := path("spec", "failsafeInboundHostPorts")
	wide := &[]v3.ProtoPort{{Protocol: "TCP", Port: 22}}
	tests := map[string]struct {
		annotations map[string]string
		other       metav1.ManagedFieldsEntry
		state       v1alpha1.DriftState
	}{
		"set by somebody":                 {nil, owns("calicoctl", set, 2, ports), v1alpha1.StateDrifted},
		"set by Argo CD":                  {nil, owns("argocd-controller", set, 2, ports), v1alpha1.StateConflicted},
		"applied on the client side":      {lastApplied(`{"failsafeInboundHostPorts":[]}`), owns("kubectl", set, 2, ports), v1alpha1.StateConflicted},
		"an apply without failsafe ports": {lastApplied(`{"bpfEnabled":true}`), owns("kubectl", set, 2, ports), v1alpha1.StateDrifted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			desired := &v3.FelixConfiguration{
				ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"},
				Spec:       v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &[]v3.ProtoPort{{Protocol: "TCP", Port: 22, Net: "10.0.0.0/8"}}},
			}
			live := desired.DeepCopy()
			live.Annotations, live.Spec.FailsafeInboundHostPorts = test.annotations, wide
			live.ManagedFields = entriesOf(owns(v1alpha1.FieldManagerNetwork, apply, 1, path("metadata", "labels", "x")), test.other)
			policies := compile(policy("dns"))
			g.Expect(drift.CompareOwned(&policies[0], desired, live, true)).To(ConsistOf(HaveField("State", test.state)))
		})
	}
}

func TestMessageOfAContest(t *testing.T) {
	g := NewWithT(t)
	contested := rewritten("f", "argo")
	contested.State, contested.Actual, contested.Expected = v1alpha1.StateContested, "Cluster", "Local"
	for cause, want := range map[v1alpha1.DriftCause]string{
		v1alpha1.CauseModified:   "Service/shop/web f is set to Cluster instead of Local again and again by argo",
		v1alpha1.CauseMissing:    "Service/shop/web f is removed again and again by argo",
		v1alpha1.CauseUnexpected: "Service/shop/web f is set to Cluster, and should not be there, again and again by argo",
	} {
		contested.Cause = cause
		g.Expect(fmt.Sprint(contested)).To(Equal(want))
	}
	contested.By, contested.Cause = drift.Manager{}, v1alpha1.CauseMissing
	g.Expect(fmt.Sprint(contested)).To(Equal("Service/shop/web f is removed again and again by one or several whose names the object does not tell"))
}
