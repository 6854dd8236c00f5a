// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	operator "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// inputs are the options to compare two inputs of a report, without derived fields.
var inputs = cmpopts.IgnoreUnexported(report.Input{})

// pictures are all inputs of a comparison of nodes and Services.
type pictures struct {
	policies  []v1alpha1.ControlPlaneNetworkPolicy
	node      *corev1.Node
	record    *v1alpha1.ControlPlaneNodeRecord
	service   *corev1.Service
	namespace *corev1.Namespace
	history   *drift.History
}

const taintField = "dedicated:NoSchedule"

func newPictures() *pictures {
	selected := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"selected": "yes"}}
	policy := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode: v1alpha1.ModeEnforce, NodeSelector: selected,
			Taints: []v1alpha1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}},
			Services: []v1alpha1.ServiceTrafficPolicy{{
				Name: "s", Selector: selected, NamespaceSelector: &selected, InternalTrafficPolicy: corev1.ServiceInternalTrafficPolicyCluster,
			}},
		},
		Status: v1alpha1.ControlPlaneNetworkPolicyStatus{
			ObservedGeneration: 1, RecordFormat: drift.RecordFormat,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: metav1.ConditionTrue, ObservedGeneration: 1}},
		},
	}
	labels := map[string]string{"selected": "yes"}
	p := &pictures{
		policies: []v1alpha1.ControlPlaneNetworkPolicy{policy},
		node: &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "n", ResourceVersion: "1", Labels: labels},
			Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}}},
		},
		record: &v1alpha1.ControlPlaneNodeRecord{
			ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "1"},
			Spec: v1alpha1.ControlPlaneNodeRecordSpec{NodeUID: "n", Taints: []v1alpha1.RecordedTaint{
				{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule, Policy: "p"},
			}},
		},
		service: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "s", ResourceVersion: "1", Labels: labels},
			Spec:       corev1.ServiceSpec{InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster)},
		},
		namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: labels}},
		history:   drift.NewHistory(),
	}
	return p
}

// sourcesOf returns the sources of a comparison: a cache with the stored objects, which are not
// copied, and an API server with the others.
func sourcesOf(t *testing.T, history *drift.History, stored []client.Object, others ...client.Object) Sources {
	t.Helper()
	stores := map[reflect.Type]toolscache.Indexer{}
	storeOf := func(kind client.Object) toolscache.Indexer {
		of := reflect.TypeOf(kind)
		if stores[of] == nil {
			stores[of] = toolscache.NewIndexer(toolscache.DeletionHandlingMetaNamespaceKeyFunc, toolscache.Indexers{})
		}
		return stores[of]
	}
	for _, object := range stored {
		NewWithT(t).Expect(storeOf(object).Add(object)).To(Succeed())
	}
	reader := fake.NewClientBuilder().WithScheme(operator.NewScheme()).WithObjects(others...).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).Build()
	return Sources{History: history, Now: time.Unix(1000, 0), Observe: state.Observer{
		Cache: reader, Live: reader,
		Stores: func(_ context.Context, kind client.Object) (toolscache.Indexer, error) { return storeOf(kind), nil },
	}}
}

// counted returns what a comparer adds to a report.
func (p *pictures) counted(t *testing.T, c *Comparer) report.Input {
	t.Helper()
	g := NewWithT(t)
	from := sourcesOf(t, p.history, []client.Object{p.node, p.record, p.service}, p.namespace.DeepCopy())
	var there []v1alpha1.ControlPlaneNetworkPolicy // as from a cache, which nobody changes
	for i := range p.policies {
		there = append(there, *p.policies[i].DeepCopy())
	}
	policies := plan.Compile(there)
	a := pipeline.Assessment{
		Policy: plan.FindPolicy(policies, "p"), Policies: policies, Snapshot: state.Snapshot{Nodes: []*corev1.Node{p.node}},
	}
	var in report.Input
	g.Expect(c.AddTo(t.Context(), &in, a, from)).To(Succeed())
	in.Policy = nil
	return in
}

// expectSeen expects that a comparer which has compared the cluster before a change compares
// like a comparer without memory after the change.
func (p *pictures) expectSeen(t *testing.T, change func(*pictures)) {
	t.Helper()
	c := &Comparer{}
	before := p.counted(t, c)
	change(p)
	is := p.counted(t, c) // first, because a History tells only once what has changed
	want := p.counted(t, &Comparer{})
	if cmp.Equal(before, want, inputs) {
		t.Fatal("the change has no consequence, so that nothing is tested")
	}
	if diff := cmp.Diff(want, is, inputs); diff != "" {
		t.Errorf("the report does not see the change (-want +got):\n%s", diff)
	}
}

// A change of any input of a comparison is seen by the next report.
func TestReportsSeeEveryChange(t *testing.T) {
	older := func(p *pictures) *v1alpha1.ControlPlaneNetworkPolicy {
		p.policies = append([]v1alpha1.ControlPlaneNetworkPolicy{*p.policies[0].DeepCopy()}, p.policies...)
		p.policies[0].Name, p.policies[0].UID = "older", "older"
		return &p.policies[0]
	}
	for name, change := range map[string]func(*pictures){
		"a taint": func(p *pictures) {
			p.node = p.node.DeepCopy()
			p.node.ResourceVersion, p.node.Spec.Taints = "2", nil
		},
		"another node of the same name": func(p *pictures) {
			p.node = p.node.DeepCopy()
			p.node.UID, p.node.Spec.Taints = "other", nil
		},
		"the spec":        func(p *pictures) { p.policies[0].Spec.Taints[0].Value = "etcd" },
		"an older policy": func(p *pictures) { older(p) },
		"a Service": func(p *pictures) {
			p.service = p.service.DeepCopy()
			p.service.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
		},
		"the labels of a namespace": func(p *pictures) { p.namespace.Labels = nil },
		"a rollback": func(p *pictures) {
			p.policies[0].Annotations = map[string]string{v1alpha1.AnnotationRevert: "an emergency"}
		},
	} {
		t.Run(name, func(t *testing.T) { newPictures().expectSeen(t, change) })
	}
}

// The record of a node, and the memory of writes, decide whether a missing taint is drift.
func TestReportsSeeRecordsAndWrites(t *testing.T) {
	missing := func() *pictures {
		p := newPictures()
		p.node.Spec.Taints = nil
		return p
	}
	missing().expectSeen(t, func(p *pictures) { p.record = p.record.DeepCopy(); p.record.Spec.Taints = nil })
	unrecorded := missing()
	unrecorded.record.Spec.Taints = nil
	unrecorded.expectSeen(t, func(p *pictures) {
		p.history.RememberWrites(drift.Object{Kind: "Node", Name: "n"}, "n", state.Record{taintField: {Policy: "p"}})
	})
}

// Unchanged objects are not compared again, and the results of deleted objects are forgotten.
func TestReportsCompareOnlyWhatHasChanged(t *testing.T) {
	g := NewWithT(t)
	p, r := newPictures(), &Comparer{}
	before := p.counted(t, r)
	memory := r.memories["p"]
	g.Expect(memory.nodes.sum.counts).To(HaveLen(1))
	g.Expect(memory.services.sum.counts).To(HaveLen(1))
	p.policies[0].Status.Taints.InSync = ptr.To[int32](1)
	p.policies[0].ResourceVersion = "9"
	memory.nodes.sum.put("n", part{count: count{declared: 7}}) // would be corrected by a comparison
	after := p.counted(t, r)
	g.Expect(after.Taints.Declared).To(Equal(7), "the node was compared again")
	after.Taints.Declared, after.Taints.InSync = before.Taints.Declared, before.Taints.InSync
	g.Expect(cmp.Diff(before, after, inputs)).To(BeEmpty())
	g.Expect(r.memories["p"]).To(BeIdenticalTo(memory), "a report does not forget")

	p.node = p.node.DeepCopy()
	p.service = p.service.DeepCopy()
	p.service.Name = "api"
	p.counted(t, r)
	g.Expect(memory.services.sum.counts).To(HaveLen(1))
	g.Expect(memory.services.sum.counts).To(HaveKey(types.NamespacedName{Namespace: "shop", Name: "api"}))
	g.Expect(memory.services.seen.known).To(HaveLen(1))
	g.Expect(memory.nodes.seen.known).To(HaveLen(1), "a former version of a node would stay in memory")
	p.policies = nil
	p.policies = append(p.policies, *newPictures().policies[0].DeepCopy())
	p.policies[0].Name = "q"
	r.memoryOf("q", plan.Compile(p.policies))
	g.Expect(r.memories).NotTo(HaveKey("p"), "a deleted policy")
}

// What the operator writes to Services leaves nothing behind in the memory of a policy that
// declares none.
func TestWritesToOthersAreNotRemembered(t *testing.T) {
	g, p, c := NewWithT(t), newPictures(), &Comparer{}
	p.policies[0].Spec.Services = nil
	p.counted(t, c)
	p.history.RememberWrites(drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}, "s", state.Record{"internalTrafficPolicy": {Policy: "q"}})
	p.history.RememberWrites(drift.Object{Kind: "Node", Name: "gone"}, "n", state.Record{taintField: {Policy: "q"}})
	p.counted(t, c)
	g.Expect(c.memories["p"].services.sum.marked).To(BeEmpty())
	g.Expect(c.memories["p"].nodes.sum.marked).To(BeEmpty())
	g.Expect(p.history.TakeTouched()).To(BeEmpty())
}
