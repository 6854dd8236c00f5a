// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
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
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	operator "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// inputs compares what reports are made of, without what follows from it.
var inputs = cmpopts.IgnoreUnexported(report.Input{})

// pictures is everything that a report on nodes and Services may follow from.
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

// counted is what a reporter counts of nodes and Services.
func (p *pictures) counted(t *testing.T, r *Reporter) report.Input {
	t.Helper()
	g := NewWithT(t)
	stores := map[reflect.Type]toolscache.Indexer{}
	for _, object := range []client.Object{p.node, p.record, p.service} {
		store := toolscache.NewIndexer(toolscache.DeletionHandlingMetaNamespaceKeyFunc, toolscache.Indexers{})
		g.Expect(store.Add(object)).To(Succeed())
		stores[reflect.TypeOf(object)] = store
	}
	r.History, r.Clock = p.history, clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	r.Observe = state.Observer{
		Cache: fake.NewClientBuilder().WithScheme(operator.NewScheme()).WithObjects(p.namespace.DeepCopy()).Build(),
		Stores: func(_ context.Context, kind client.Object) (toolscache.Indexer, error) {
			return stores[reflect.TypeOf(kind)], nil
		},
	}
	var there []v1alpha1.ControlPlaneNetworkPolicy // as from a cache, which nobody changes
	for i := range p.policies {
		there = append(there, *p.policies[i].DeepCopy())
	}
	policies := plan.Compile(there)
	o := Observation{policy: plan.FindPolicy(policies, "p"), policies: policies, nodes: []corev1.Node{*p.node}}
	var in report.Input
	g.Expect(r.addNodes(t.Context(), o, &in)).To(Succeed())
	g.Expect(r.addServices(t.Context(), o, &in)).To(Succeed())
	in.Policy = nil
	return in
}

// Whatever the posture of an object follows from, a change of it is seen by the next report.
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
		t.Run(name, func(t *testing.T) {
			p, r := newPictures(), &Reporter{}
			before := p.counted(t, r)
			change(p)
			want := p.counted(t, &Reporter{})
			if cmp.Equal(before, want, inputs) {
				t.Fatal("the change has no consequence, so that nothing is tested")
			}
			if diff := cmp.Diff(want, p.counted(t, r), inputs); diff != "" {
				t.Errorf("the report does not see the change (-want +got):\n%s", diff)
			}
		})
	}
}

// The record of a node, the memory of writes, and the failure of a write decide whether a
// missing taint is drift.
func TestReportsSeeWhatIsOnRecord(t *testing.T) {
	missing := func() *pictures {
		p := newPictures()
		p.node.Spec.Taints = nil
		return p
	}
	node := drift.Object{Kind: "Node", Name: "n"}
	for name, change := range map[string]func(*pictures){
		"the record": func(p *pictures) { p.record = p.record.DeepCopy(); p.record.Spec.Taints = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p, r := missing(), &Reporter{}
			before := p.counted(t, r)
			change(p)
			want := p.counted(t, &Reporter{})
			if cmp.Equal(before, want, inputs) {
				t.Fatal("the change has no consequence, so that nothing is tested")
			}
			if diff := cmp.Diff(want, p.counted(t, r), inputs); diff != "" {
				t.Errorf("the report does not see the change (-want +got):\n%s", diff)
			}
		})
	}
	g := NewWithT(t)
	h := drift.NewHistory()
	writes := func() drift.Writes { return h.RememberedWrites(node) }
	before := writes()
	h.RecordFailure(node, []string{"p"}, errors.New("refused"), time.Unix(1, 0))
	g.Expect(writes().Equal(before)).To(BeFalse(), "a failed write")
	h = drift.NewHistory()
	h.RememberWrites(node, types.UID("n"), state.Record{taintField: {Policy: "p"}})
	first := writes()
	g.Expect(first.Equal(before)).To(BeFalse(), "a write")
	h.RememberWrites(node, types.UID("n"), state.Record{taintField: {Policy: "p", Applied: "x"}})
	g.Expect(writes().Equal(first)).To(BeFalse(), "another write")
	h.RememberWrites(node, types.UID("other"), state.Record{taintField: {Policy: "p"}})
	g.Expect(writes().Equal(first)).To(BeFalse(), "a write to another node of the name")
}

// What has not changed is not compared again; and what is gone is forgotten.
func TestReportsCompareOnlyWhatHasChanged(t *testing.T) {
	g := NewWithT(t)
	p, r := newPictures(), &Reporter{}
	before := p.counted(t, r)
	memory := r.postures.policies["p"]
	g.Expect(memory.nodes).To(HaveLen(1))
	g.Expect(memory.services).To(HaveLen(1))
	p.policies[0].Status.Taints.InSync = ptr.To[int32](1)
	p.policies[0].ResourceVersion = "9"
	g.Expect(cmp.Diff(before, p.counted(t, r), inputs)).To(BeEmpty())
	g.Expect(r.postures.policies["p"]).To(BeIdenticalTo(memory), "a report does not forget")

	p.service = p.service.DeepCopy()
	p.service.Name = "api"
	p.counted(t, r)
	g.Expect(memory.services).To(HaveLen(1))
	g.Expect(memory.services).To(HaveKey(types.NamespacedName{Namespace: "shop", Name: "api"}))
	memory.keepNodes(nil)
	g.Expect(memory.nodes).To(BeEmpty())
}
