// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// deadline is long: a machine may compile at the same time.
	deadline = 40 * time.Second
	tick     = 20 * time.Millisecond
	// soon is a patience that a test can wait for.
	soon = 2 * time.Second
	// moment is how long nothing is watched to happen.
	moment = time.Second
	// stageTime leaves no node behind: there is none that enforces anything.
	stageTime = 100 * time.Millisecond
	// members is how many nodes can lose one, so that they are rolled out to.
	members = 3
)

// story is one test's corner of the cluster: a namespace and nodes of its own,
// and an operator that ends with it.
type story struct {
	*WithT
	t     *testing.T
	ctx   context.Context
	name  string
	clock *operator.LaterClock
	began testbed.Mark
	ended <-chan struct{} // of the operator that was started last
}

func begin(t *testing.T) *story {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "API", "api").Replace(strings.TrimPrefix(t.Name(), "Test")))
	s := &story{WithT: NewWithT(t), t: t, ctx: t.Context(), name: name[:min(len(name), 40)], clock: &operator.LaterClock{}}
	s.clock.Passes(operator.AnnounceTime)
	s.poll()
	s.began = s.mark()
	s.Expect(admin.Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})).To(Succeed())
	t.Cleanup(s.end)
	return s
}

// in returns the story within one of its subtests.
func (s *story) in(t *testing.T) *story {
	inner := *s
	inner.WithT, inner.t = NewWithT(t), t
	inner.poll()
	return &inner
}

func (s *story) poll() {
	s.SetDefaultEventuallyTimeout(deadline)
	s.SetDefaultEventuallyPollingInterval(tick)
	s.SetDefaultConsistentlyPollingInterval(5 * tick)
}

// end empties the cluster of what would get in the next story's way, and sees
// what goes for every story: the operator was refused nothing, and nothing in it
// panicked. The test's own context is over by then.
func (s *story) end() {
	ctx := context.Background()
	var policies v1alpha1.ControlPlaneNetworkPolicyList
	s.Expect(admin.List(ctx, &policies)).To(Succeed())
	for i := range policies.Items {
		policy := &policies.Items[i]
		body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		s.Expect(client.IgnoreNotFound(admin.Patch(ctx, policy, body))).To(Succeed())
		s.Expect(client.IgnoreNotFound(admin.Delete(ctx, policy))).To(Succeed())
	}
	s.Expect(admin.DeleteAllOf(ctx, &corev1.Node{}, client.MatchingLabels(s.label()))).To(Succeed())
	s.Expect(s.forbidden()).To(BeEmpty(), "rights that are missing")
	s.Expect(total("controller_runtime_reconcile_panics_total")).To(BeZero())
}

// operator starts the operator with the shipped rights. It returns what stops
// it, which is also done when the test ends.
func (s *story) operator() (stop func()) { return s.operatorAs(operatorConfig) }

func (s *story) operatorAs(config *rest.Config) (stop func()) {
	s.t.Helper()
	running, err := operator.Start(config, controllers.Options{Clock: s.clock, ReadPatience: soon, StageTime: stageTime})
	s.Expect(err).NotTo(HaveOccurred())
	s.ended = running.Ended()
	stop = func() { s.Expect(running.Stop()).To(Succeed()) }
	s.t.Cleanup(stop)
	return stop
}

// runs says that the operator that was started last has not ended.
func (s *story) runs() {
	s.t.Helper()
	s.Expect(s.ended).NotTo(BeClosed(), "the operator has ended")
}

func (s *story) label() map[string]string { return map[string]string{operator.StoryLabel: s.name} }

// nodes creates as many control-plane nodes as it takes, which only this story's
// policies select.
func (s *story) nodes() []string {
	s.t.Helper()
	var names []string
	for i := range members {
		names = append(names, s.join(i+1))
	}
	return names
}

func (s *story) join(number int, options ...testbed.NodeOption) string {
	s.t.Helper()
	name := fmt.Sprintf("%s-%d", s.name, number)
	all := append([]testbed.NodeOption{
		testbed.NodeLabels(s.label()), testbed.InternalIP(fmt.Sprintf("10.77.0.%d", number)),
		testbed.NodeReady(corev1.ConditionTrue),
	}, options...)
	s.Expect(testbed.CreateNode(s.ctx, admin, testbed.Node(name, all...))).To(Succeed())
	return name
}

// marked is what the story's policy makes of nodes.
func marked(nodes ...string) (found []string) {
	for _, node := range nodes {
		found = append(found, node+" "+testbed.ControlPlaneRole+":NoSchedule", node+" is recorded")
	}
	return found
}

// policy returns a policy of the story that enforces one of everything.
func (s *story) policy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	return operator.Policy(s.name, change...)
}

func (s *story) create(objects ...client.Object) {
	s.t.Helper()
	for _, object := range objects {
		s.Expect(admin.Create(s.ctx, object)).To(Succeed(), object.GetName())
	}
}

// edit changes a policy's spec.
func (s *story) edit(name string, change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	s.t.Helper()
	s.Eventually(func() error {
		policy := s.get(name)
		change(&policy.Spec)
		return admin.Update(s.ctx, policy)
	}).Should(Succeed())
}

// patch is what somebody else does to an object. It may be the test's end, when
// its own context is over.
func (s *story) patch(object client.Object, body string) {
	s.t.Helper()
	s.Expect(admin.Patch(context.Background(), object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner("mallory"))).To(Succeed())
}

func (s *story) delete(object client.Object) {
	s.t.Helper()
	s.Expect(admin.Delete(s.ctx, object)).To(Succeed())
}

// remove deletes a policy, and waits until it is gone.
func (s *story) remove(name string) {
	s.t.Helper()
	s.delete(s.get(name))
	s.gone(name)
}
