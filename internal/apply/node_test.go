// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"maps"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const dedicated, theirs = "dedicated:NoSchedule", "theirs:NoExecute"

// nodes is an API server with one node, which records the requests and refuses the chosen one.
type nodes struct {
	client.WithWatch
	requests []string
	fails    string
	// meanwhile is what others do before a request.
	meanwhile map[string]func()
}

func (n *nodes) asked(verb string, object client.Object) error {
	request := verb + " " + map[bool]string{true: "node", false: "record"}[isNode(object)]
	n.requests = append(n.requests, request)
	if act := n.meanwhile[request]; act != nil {
		delete(n.meanwhile, request)
		act()
	}
	if request == n.fails {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Node"}, object.GetName(), nil)
	}
	return nil
}

func isNode(object client.Object) bool { _, is := object.(*corev1.Node); return is }

func newNodes(t *testing.T, record state.Record, taints ...corev1.Taint) *nodes {
	scheme := runtime.NewScheme()
	g := NewWithT(t)
	g.Expect(corev1.AddToScheme(scheme)).To(Succeed())
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	objects := []client.Object{&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1", UID: "uid"}, Spec: corev1.NodeSpec{Taints: taints}}}
	if len(record) > 0 {
		objects = append(objects, &v1alpha1.ControlPlaneNodeRecord{
			ObjectMeta: metav1.ObjectMeta{Name: "cp-1", UID: "record"},
			Spec:       v1alpha1.ControlPlaneNodeRecordSpec{NodeUID: "uid", Taints: record.RecordedTaints()},
		})
	}
	n := &nodes{meanwhile: map[string]func(){}}
	n.WithWatch = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			if err := n.asked("get", object); err != nil {
				return err
			}
			return c.Get(ctx, key, object, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
			if err := n.asked("create", object); err != nil {
				return err
			}
			return c.Create(ctx, object, options...)
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			if err := n.asked("update", object); err != nil {
				return err
			}
			return c.Update(ctx, object, options...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			if err := n.asked("delete", object); err != nil {
				return err
			}
			return c.Delete(ctx, object, options...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			if err := n.asked("patch", object); err != nil {
				return err
			}
			return c.Patch(ctx, object, patch, options...)
		},
	})
	return n
}

// seen returns the present node and its record.
func (n *nodes) seen(t *testing.T) (*corev1.Node, state.NodeRecord) {
	t.Helper()
	node, stored := &corev1.Node{}, &v1alpha1.ControlPlaneNodeRecord{}
	NewWithT(t).Expect(n.Get(t.Context(), client.ObjectKey{Name: "cp-1"}, node)).To(Succeed())
	records := state.NodeRecords{}
	if err := n.Get(t.Context(), client.ObjectKey{Name: "cp-1"}, stored); err == nil {
		records["cp-1"] = stored
	}
	return node, records.OfNode(node)
}

// write writes an outcome that was decided on the present node, and returns the requests.
func (n *nodes) write(t *testing.T, outcome drift.Outcome) ([]string, error) {
	t.Helper()
	node, record := n.seen(t)
	n.requests = nil
	err := apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, node, record, outcome)
	return n.requests, err
}

func taint(field, value string) corev1.Taint {
	key, effect := state.ParseTaintField(field)
	return corev1.Taint{Key: key, Effect: effect, Value: value}
}

type values = map[string]*string

func TestOrderOfWritesToANodeIsSafeAfterEachWrite(t *testing.T) {
	set, adopted := record("p", "", nil), record("p", "x", ptr.To("x"))
	for name, test := range map[string]struct {
		before  state.Record
		taints  []corev1.Taint
		outcome drift.Outcome
		want    []string
		after   []corev1.Taint
	}{
		"a taint is recorded before it is set": {
			nil, []corev1.Taint{taint(theirs, "")},
			drift.Outcome{Set: values{dedicated: ptr.To("")}, Record: state.Record{dedicated: set}},
			[]string{"create record", "patch node"}, []corev1.Taint{taint(theirs, ""), taint(dedicated, "")},
		},
		"a repair is one write, without a read": {
			state.Record{dedicated: set}, nil,
			drift.Outcome{Set: values{dedicated: ptr.To("")}, Record: state.Record{dedicated: set}},
			[]string{"patch node"}, []corev1.Taint{taint(dedicated, "")},
		},
		"an adopted taint is only recorded, if the Node is not stale": {
			nil, []corev1.Taint{taint(dedicated, "x")},
			drift.Outcome{Record: state.Record{dedicated: adopted}},
			[]string{"patch node", "create record"}, []corev1.Taint{taint(dedicated, "x")},
		},
		"a restored taint stays on record until the taint is removed": {
			state.Record{dedicated: set}, []corev1.Taint{taint(dedicated, ""), taint(theirs, "")},
			drift.Outcome{Set: values{dedicated: nil}, Record: state.Record{}},
			[]string{"get record", "patch node", "delete record"}, []corev1.Taint{taint(theirs, "")},
		},
		"one taint is restored and another one set": {
			state.Record{dedicated: set}, []corev1.Taint{taint(dedicated, "")},
			drift.Outcome{Set: values{dedicated: nil, "b:NoSchedule": ptr.To("")}, Record: state.Record{"b:NoSchedule": set}},
			[]string{"update record", "get record", "patch node", "update record"}, []corev1.Taint{taint("b:NoSchedule", "")},
		},
		"a taint that others changed is only forgotten": {
			state.Record{dedicated: set}, []corev1.Taint{taint(dedicated, "since")},
			drift.Outcome{Record: state.Record{}},
			[]string{"patch node", "delete record"}, []corev1.Taint{taint(dedicated, "since")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, n := NewWithT(t), newNodes(t, test.before, test.taints...)
			requests, err := n.write(t, test.outcome)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(requests).To(Equal(test.want))
			node, stored := n.seen(t)
			g.Expect(node.Spec.Taints).To(ConsistOf(test.after))
			g.Expect(drift.SameRecord(stored.Record, test.outcome.Record)).To(BeTrue(), "%v", stored.Record)
			if stored.Stored != nil && test.before == nil {
				g.Expect(stored.Stored.OwnerReferences).To(ConsistOf(And(HaveField("Kind", "Node"), HaveField("UID", node.UID))), "the record is deleted with the node")
			}
		})
	}
}

// Whichever request is the last one: a taint of the operator is on record, and a foreign taint never is.
func TestHalfwayWriteKeepsTheRecordRight(t *testing.T) {
	outcomes := map[string]struct {
		before  state.Record
		taints  []corev1.Taint
		outcome drift.Outcome
	}{
		"set":      {nil, nil, drift.Outcome{Set: values{dedicated: ptr.To("")}, Record: state.Record{dedicated: record("p", "", nil)}}},
		"released": {state.Record{dedicated: record("p", "", nil)}, []corev1.Taint{taint(dedicated, "")}, drift.Outcome{Set: values{dedicated: nil}, Record: state.Record{}}},
	}
	for name, test := range outcomes {
		for _, fails := range []string{"create record", "get record", "patch node", "update record", "delete record"} {
			t.Run(name+" without "+fails, func(t *testing.T) {
				g, n := NewWithT(t), newNodes(t, test.before, test.taints...)
				node, seen := n.seen(t)
				n.fails = fails
				err := apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, node, seen, test.outcome)
				n.fails = ""
				node, stored := n.seen(t)
				if len(node.Spec.Taints) > 0 {
					g.Expect(stored.Record).To(HaveKey(dedicated), "the taint exists, and only the record shows that it is the operator's")
				}
				if err == nil {
					g.Expect(drift.SameRecord(stored.Record, test.outcome.Record)).To(BeTrue())
				}
			})
		}
	}
}

// A claim is not released from a stale Node, which lacks the taint that was
// set a moment ago: otherwise the taint would stay forever.
func TestNoReleaseFromAStaleNode(t *testing.T) {
	g, n := NewWithT(t), newNodes(t, state.Record{dedicated: record("p", "", nil)})
	stale, seen := n.seen(t)
	now := stale.DeepCopy()
	now.Spec.Taints = []corev1.Taint{taint(dedicated, "")}
	g.Expect(n.Update(t.Context(), now)).To(Succeed())
	err := apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, stale, seen, drift.Outcome{Record: state.Record{}})
	g.Expect(err).To(Satisfy(apierrors.IsConflict))
	_, stored := n.seen(t)
	g.Expect(stored.Record).To(HaveKey(dedicated))
}

// A taint that a stale Node shows, and that was removed, is not an original: otherwise
// the operator would set the taint, and leave it when the policy is deleted.
func TestNoAdoptionFromAStaleNode(t *testing.T) {
	for name, outcome := range map[string]drift.Outcome{
		"nothing to set":       {Record: state.Record{dedicated: record("p", "", ptr.To(""))}},
		"another value to set": {Set: values{dedicated: ptr.To("")}, Record: state.Record{dedicated: record("p", "", ptr.To("old"))}},
	} {
		t.Run(name, func(t *testing.T) {
			g, n := NewWithT(t), newNodes(t, nil, taint(dedicated, "old"))
			stale, seen := n.seen(t)
			now := stale.DeepCopy()
			now.Spec.Taints = nil
			g.Expect(n.Update(t.Context(), now)).To(Succeed())
			err := apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, stale, seen, outcome)
			g.Expect(err).To(Satisfy(apierrors.IsConflict))
			_, stored := n.seen(t)
			g.Expect(stored.Record).To(BeEmpty())
		})
	}
}

// Two operators run for a moment, and the other one sets the taint of this one's
// record. The record stays: without the record, the taint would count as foreign.
func TestConflictLeavesTheRecord(t *testing.T) {
	g, n := NewWithT(t), newNodes(t, nil)
	n.meanwhile["patch node"] = func() {
		node, _ := n.seen(t)
		node.Spec.Taints = []corev1.Taint{taint(dedicated, "")}
		g.Expect(n.Update(t.Context(), node)).To(Succeed())
	}
	_, err := n.write(t, drift.Outcome{Set: values{dedicated: ptr.To("")}, Record: state.Record{dedicated: record("p", "", nil)}})
	g.Expect(err).To(Satisfy(apierrors.IsConflict))
	_, stored := n.seen(t)
	g.Expect(stored.Record).To(HaveKey(dedicated))
}

// A stale record is no reason to remove a taint, or to forget one.
func TestAStaleRecordCausesNoWrite(t *testing.T) {
	ours := state.Record{dedicated: record("p", "", nil)}
	released := drift.Outcome{Set: values{dedicated: nil}, Record: state.Record{}}

	g, n := NewWithT(t), newNodes(t, ours, taint(dedicated, ""))
	node, old := n.seen(t)
	_, err := n.write(t, released)
	g.Expect(err).NotTo(HaveOccurred())
	// Somebody sets the same taint, and the cache still has the record.
	node.Spec.Taints, node.ResourceVersion = []corev1.Taint{taint(dedicated, "")}, ""
	g.Expect(n.Update(t.Context(), node)).To(Succeed())
	node, _ = n.seen(t)
	g.Expect(apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, node, old, released)).To(Satisfy(apierrors.IsConflict))
	node, _ = n.seen(t)
	g.Expect(node.Spec.Taints).To(HaveLen(1))

	// The cache does not show the record yet.
	n = newNodes(t, ours, taint(dedicated, ""))
	node, _ = n.seen(t)
	adopts := drift.Outcome{Record: state.Record{dedicated: record("p", "", ptr.To(""))}}
	g.Expect(apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, node, state.NodeRecord{}, adopts)).To(Satisfy(apierrors.IsConflict))

	// Somebody changes the record between the read and the write.
	n = newNodes(t, ours, taint(dedicated, ""))
	node, record := n.seen(t)
	n.meanwhile["get record"] = func() {
		_, now := n.seen(t)
		now.Stored.Spec.Taints[0].Policy = "q"
		g.Expect(n.Update(t.Context(), now.Stored)).To(Succeed())
	}
	g.Expect(apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: n}, node, record, released)).To(Satisfy(apierrors.IsConflict))
	node, _ = n.seen(t)
	g.Expect(node.Spec.Taints).To(HaveLen(1))
}

// The record of a deleted Node is replaced by that of a new Node of the same name.
func TestRecordOfADeletedNodeIsReplaced(t *testing.T) {
	g, n := NewWithT(t), newNodes(t, state.Record{theirs: record("q", "", nil)})
	_, was := n.seen(t)
	was.Stored.Spec.NodeUID = "before"
	g.Expect(n.Update(t.Context(), was.Stored)).To(Succeed())
	set := state.Record{dedicated: record("p", "", nil)}
	_, err := n.write(t, drift.Outcome{Set: values{dedicated: ptr.To("")}, Record: maps.Clone(set)})
	g.Expect(err).NotTo(HaveOccurred())
	_, is := n.seen(t)
	g.Expect(drift.SameRecord(is.Record, set)).To(BeTrue())
}

// The first write removes the annotation in which earlier versions kept the record.
func TestRecordInAnAnnotationOfANodeIsRemoved(t *testing.T) {
	g, n := NewWithT(t), newNodes(t, nil, taint(dedicated, ""))
	node, _ := n.seen(t)
	node.Annotations = map[string]string{v1alpha1.AnnotationRecord: "{}", "other": "x"}
	g.Expect(n.Update(t.Context(), node)).To(Succeed())
	requests, err := n.write(t, drift.Outcome{Record: state.Record{dedicated: record("p", "", nil)}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(requests).To(Equal([]string{"create record", "patch node"}))
	node, _ = n.seen(t)
	g.Expect(node.Annotations).To(Equal(map[string]string{"other": "x"}))
	g.Expect(node.Spec.Taints).To(HaveLen(1))
}

func TestTheAnswerToAPatchOfANodeIsChecked(t *testing.T) {
	g, n := NewWithT(t), newNodes(t, nil)
	node, none := n.seen(t)
	r := &recorder{tamper: func(stored map[string]any) { delete(stored, "spec") }}
	outcome := drift.Outcome{Set: values{dedicated: ptr.To("")}, Record: state.Record{dedicated: record("p", "", nil)}}
	err := apply.WriteNode(t.Context(), apply.NodeClients{Live: n, Writer: mixed{nodes: n, recorder: r}}, node, none, outcome)
	g.Expect(err).To(MatchError(ContainSubstring(dedicated + ` is (none) instead of ""`)))
	g.Expect(r.requests).To(HaveLen(1))
	g.Expect(r.requests[0].verb).To(Equal("patch application/merge-patch+json"))
	g.Expect(r.requests[0].owner).To(Equal("cpnp.dev/taints"))
	g.Expect(r.requests[0].body).To(MatchJSON(`{"metadata":{"uid":"uid","resourceVersion":"` + node.ResourceVersion + `"},` +
		`"spec":{"taints":[{"key":"dedicated","effect":"NoSchedule"}]}}`))
}

// mixed stores records, and records patches of nodes.
type mixed struct {
	*nodes
	recorder *recorder
}

func (m mixed) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return m.recorder.Patch(ctx, object, patch, options...)
}
