// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

var (
	seed  = flag.Uint64("seed", 1, "seed of the random changes; 0 takes a new one, which is printed")
	steps = flag.Int("steps", 200, "how many random changes")
)

// scene is a cluster whose objects change at random: a changed object is another one, as in
// a cache.
type scene struct {
	random     *rand.Rand
	policies   []v1alpha1.ControlPlaneNetworkPolicy
	nodes      map[string]*corev1.Node
	records    map[string]*v1alpha1.ControlPlaneNodeRecord
	services   map[string]*corev1.Service
	namespaces map[string]map[string]string
	history    *drift.History
}

// After any changes, a report that compares only what has changed is the same as a report
// that compares everything.
func TestReportsStayTrueThroughAnyChanges(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d -steps=%d", *seed, *steps)
	template := newPictures()
	rival := template.policies[0].DeepCopy()
	rival.Name, rival.UID, rival.Spec.Taints[0].Value = "rival", "rival", "other"
	s := &scene{
		random: rand.New(rand.NewPCG(*seed, 1)), policies: append(template.policies, *rival),
		nodes: map[string]*corev1.Node{}, records: map[string]*v1alpha1.ControlPlaneNodeRecord{}, services: map[string]*corev1.Service{},
		namespaces: map[string]map[string]string{"a": {"selected": "yes"}, "b": {}}, history: drift.NewHistory(),
	}
	kept, reports := &Comparer{}, map[string]bool{}
	for step := range *steps {
		var done []string
		for range 1 + s.random.IntN(3) {
			done = append(done, s.change(step))
		}
		for _, name := range []string{"p", "rival"} {
			if s.random.IntN(3) == 0 {
				continue // this policy is reported after more changes
			}
			is := s.report(t, kept, name)
			reports[cmp.Diff(report.Input{}, is, inputs)] = true
			if diff := cmp.Diff(s.report(t, &Comparer{}, name), is, inputs); diff != "" {
				t.Fatalf("step %d, after %s: the report on %s (-everything compared, +changes compared):\n%s", step, strings.Join(done, ", "), name, diff)
			}
		}
	}
	NewWithT(t).Expect(len(reports)).To(BeNumerically(">", *steps/10), "different reports")
}

// change changes one thing, and tells what.
func (s *scene) change(step int) string {
	name := fmt.Sprint("n-", s.random.IntN(4))
	node := drift.Object{Kind: "Node", Name: name}
	switch s.random.IntN(9) {
	case 0:
		delete(s.nodes, name)
		return "deleted " + name
	case 1, 2:
		s.nodes[name] = s.newNode(name)
		return "changed " + name
	case 3:
		s.changeRecord(name)
		return "changed the record of " + name
	case 4:
		service := fmt.Sprint("s-", s.random.IntN(4))
		if s.random.IntN(3) == 0 {
			delete(s.services, service)
			return "deleted " + service
		}
		s.services[service] = s.newService(service)
		return "changed " + service
	case 5:
		s.namespaces[s.one("a", "b")] = map[string]string{"selected": s.one("yes", "no")}
		return "changed the labels of a namespace"
	case 6:
		s.history.RememberWrites(node, types.UID(s.one("1", "2")), s.newRecord())
		return "wrote " + name
	case 7:
		if s.random.IntN(2) == 0 {
			s.history.RecordSettled(node, time.Unix(1000, 0))
			return "settled " + name
		}
		s.history.RecordFailure(node, []string{"p"}, errors.New("refused"), time.Unix(1000, 0))
		return "failed to write " + name
	default:
		policy := &s.policies[s.random.IntN(2)]
		switch s.random.IntN(4) {
		case 0:
			policy.Spec.Taints[0].Effect = corev1.TaintEffect(s.one("NoSchedule", "NoExecute"))
			policy.Spec.Taints[0].AllowEviction = policy.Spec.Taints[0].Effect == corev1.TaintEffectNoExecute
		default: // as a report does
			policy.ResourceVersion = fmt.Sprint(step)
		}
		return "changed policy " + policy.Name
	}
}

func (s *scene) one(of ...string) string { return of[s.random.IntN(len(of))] }

func (s *scene) newNode(name string) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID(s.one("1", "2")), ResourceVersion: s.one("1", "2", "3"), Labels: map[string]string{"selected": s.one("yes", "yes", "no")},
	}}
	if s.random.IntN(2) == 0 {
		node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: s.one("", "other"), Effect: corev1.TaintEffectNoSchedule}}
	}
	return node
}

func (s *scene) newRecord() state.Record {
	if s.random.IntN(3) == 0 {
		return nil
	}
	return state.Record{taintField: {Policy: s.one("p", "rival"), Applied: s.one("", "other")}}
}

func (s *scene) changeRecord(name string) {
	record := s.newRecord()
	if record == nil {
		delete(s.records, name)
		return
	}
	s.records[name] = &v1alpha1.ControlPlaneNodeRecord{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.ControlPlaneNodeRecordSpec{NodeUID: s.one("1", "2"), Taints: record.RecordedTaints()},
	}
}

func (s *scene) newService(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.one("a", "b"), Name: name, Labels: map[string]string{"selected": s.one("yes", "yes", "no")}},
		Spec:       corev1.ServiceSpec{InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicy(s.one("Cluster", "Local")))},
	}
}

// report returns what a comparer adds to the report on a policy.
func (s *scene) report(t *testing.T, c *Comparer, name string) report.Input {
	t.Helper()
	var stored, others []client.Object
	for _, service := range s.services {
		stored = append(stored, service)
	}
	for _, record := range s.records {
		stored = append(stored, record)
	}
	for _, node := range []string{"n-0", "n-1"} {
		others = append(others, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: node}, Spec: corev1.PodSpec{NodeName: node}})
	}
	for namespace, labels := range s.namespaces {
		others = append(others, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}})
	}
	var there []v1alpha1.ControlPlaneNetworkPolicy // as from a cache, which nobody changes
	for i := range s.policies {
		there = append(there, *s.policies[i].DeepCopy())
	}
	policies := plan.Compile(there)
	a := pipeline.Assessment{Policy: plan.FindPolicy(policies, name), Policies: policies}
	for _, node := range s.nodes {
		a.Snapshot.Nodes = append(a.Snapshot.Nodes, node)
	}
	slices.SortFunc(a.Snapshot.Nodes, func(x, y *corev1.Node) int { return strings.Compare(x.Name, y.Name) })
	var in report.Input
	NewWithT(t).Expect(c.AddTo(t.Context(), &in, a, sourcesOf(t, s.history, stored, others...))).To(Succeed())
	in.Policy = nil
	return in
}
