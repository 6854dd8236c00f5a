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
	// deadline is long because a compiler may run at the same time.
	deadline = 40 * time.Second
	tick     = 50 * time.Millisecond
	// soon is a patience short enough for a test.
	soon = 2 * time.Second
	// moment is how long a test watches for unwanted changes.
	moment = time.Second
	// stageTime is short, because no Felix enforces anything here.
	stageTime = 100 * time.Millisecond
	// members is the smallest number of nodes for a rollout.
	members = 3
)

// story is a test's part of the cluster: a namespace, nodes, and an operator with the same
// lifetime.
type story struct {
	*WithT
	t     *testing.T
	ctx   context.Context
	name  string
	clock *operator.LaterClock
	began testbed.Mark
	ended <-chan struct{} // closed at the end of the last started operator
}

func beginStory(t *testing.T) *story {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "API", "api").Replace(strings.TrimPrefix(t.Name(), "Test")))
	s := &story{WithT: NewWithT(t), t: t, ctx: t.Context(), name: name[:min(len(name), 40)], clock: &operator.LaterClock{}}
	s.clock.Passes(operator.AnnounceTime)
	s.setPolling()
	s.began = s.markAuditLog()
	s.Expect(admin.Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})).To(Succeed())
	t.Cleanup(s.endStory)
	return s
}

// inSubtest returns the story for a subtest.
func (s *story) inSubtest(t *testing.T) *story {
	inner := *s
	inner.WithT, inner.t = NewWithT(t), t
	inner.setPolling()
	return &inner
}

func (s *story) setPolling() {
	s.SetDefaultEventuallyTimeout(deadline)
	s.SetDefaultEventuallyPollingInterval(tick)
	s.SetDefaultConsistentlyPollingInterval(2 * tick)
}

// endStory removes all objects that would disturb the next story, and checks the common
// expectations of all stories: no request of the operator was forbidden, and no reconciler
// panicked. The test's own context has ended by then.
func (s *story) endStory() {
	ctx := context.Background()
	var policies v1alpha1.ControlPlaneNetworkPolicyList
	s.Expect(admin.List(ctx, &policies)).To(Succeed())
	for i := range policies.Items {
		policy := &policies.Items[i]
		body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		s.Expect(client.IgnoreNotFound(admin.Patch(ctx, policy, body))).To(Succeed())
		s.Expect(client.IgnoreNotFound(admin.Delete(ctx, policy))).To(Succeed())
	}
	s.Expect(admin.DeleteAllOf(ctx, &corev1.Node{}, client.MatchingLabels(s.storyLabels()))).To(Succeed())
	s.Expect(s.forbiddenRequests()).To(BeEmpty(), "missing rights")
	s.Expect(totalOf("controller_runtime_reconcile_panics_total")).To(BeZero())
}

// startOperator starts the operator with the shipped rights, and returns a function to stop
// the operator, which also stops when the test ends.
func (s *story) startOperator() (stop func()) { return s.startOperatorAs(operatorConfig) }

func (s *story) startOperatorAs(config *rest.Config) (stop func()) {
	s.t.Helper()
	running, err := operator.Start(config, controllers.Options{Clock: s.clock, ReadPatience: soon, StageTime: stageTime})
	s.Expect(err).NotTo(HaveOccurred())
	s.ended = running.Ended()
	stop = func() { s.Expect(running.Stop()).To(Succeed()) }
	s.t.Cleanup(stop)
	return stop
}

// expectRunning expects the last started operator to be running.
func (s *story) expectRunning() {
	s.t.Helper()
	s.Expect(s.ended).NotTo(BeClosed(), "the operator has ended")
}

func (s *story) storyLabels() map[string]string {
	return map[string]string{operator.StoryLabel: s.name}
}

// createNodes creates enough control-plane nodes for a rollout. Only policies of the story
// select the nodes.
func (s *story) createNodes() []string {
	s.t.Helper()
	var names []string
	for i := range members {
		names = append(names, s.createNode(i+1))
	}
	return names
}

func (s *story) createNode(number int, options ...testbed.NodeOption) string {
	s.t.Helper()
	name := fmt.Sprintf("%s-%d", s.name, number)
	all := append([]testbed.NodeOption{
		testbed.NodeLabels(s.storyLabels()), testbed.InternalIP(fmt.Sprintf("10.77.0.%d", number)),
		testbed.NodeReady(corev1.ConditionTrue),
	}, options...)
	s.Expect(testbed.CreateNode(s.ctx, admin, testbed.Node(name, all...))).To(Succeed())
	return name
}

// taintedAndRecorded returns the expected writes of the story's policy on nodes.
func taintedAndRecorded(nodes ...string) (found []string) {
	for _, node := range nodes {
		found = append(found, node+" "+testbed.ControlPlaneRole+":NoSchedule", node+" is recorded")
	}
	return found
}

// newPolicy returns a policy of the story with every kind of declaration.
func (s *story) newPolicy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	return operator.Policy(s.name, change...)
}

func (s *story) createObjects(objects ...client.Object) {
	s.t.Helper()
	for _, object := range objects {
		s.Expect(admin.Create(s.ctx, object)).To(Succeed(), object.GetName())
	}
}

// editPolicy changes a policy's spec.
func (s *story) editPolicy(name string, change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	s.t.Helper()
	s.Eventually(func() error {
		policy := s.getPolicy(name)
		change(&policy.Spec)
		return admin.Update(s.ctx, policy)
	}).Should(Succeed())
}

// patchObject patches an object as another user. The test may have ended already, so the
// test's own context is not used.
func (s *story) patchObject(object client.Object, body string) {
	s.t.Helper()
	s.Expect(admin.Patch(context.Background(), object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner("mallory"))).To(Succeed())
}

func (s *story) deleteObject(object client.Object) {
	s.t.Helper()
	s.Expect(admin.Delete(s.ctx, object)).To(Succeed())
}

// removePolicy deletes a policy, and waits until the policy is gone.
func (s *story) removePolicy(name string) {
	s.t.Helper()
	s.deleteObject(s.getPolicy(name))
	s.waitUntilGone(name)
}
