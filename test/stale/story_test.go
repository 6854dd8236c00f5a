// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/staleproxy"
)

const (
	// deadline is long, because the machine may compile at the same time.
	deadline = 90 * time.Second
	tick     = 30 * time.Millisecond
	// stageTime is short, because no node enforces rules here.
	stageTime = 40 * time.Millisecond
	// members are the nodes that the policy protects at first. The control plane
	// has one more node, so that etcd can lose one.
	members = 2
)

// story is one policy, with nodes, a namespace and a Service of its own, and the proxy in front of its operators.
type story struct {
	*WithT
	*place
	t       *testing.T
	name    string
	proxy   *staleproxy.Proxy
	states  *states
	world   *world
	clock   *operator.LaterClock
	running *operator.Running // nil while no operator runs
	nodes   int               // how many nodes there are
	version int               // how many versions of the rules there were
	touched int               // how often the things were touched
	// harmless is the only version of the rules that cuts no flow; nil if all versions are harmless.
	harmless atomic.Pointer[string]
	// stopObserver stops the observer, if one runs.
	stopObserver func()
}

// begin starts a story in a free place, or waits for one.
func begin(t *testing.T) *story {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "-", "#", "").Replace(strings.TrimPrefix(t.Name(), "Test")))
	name = name[max(0, len(name)-40):]
	s := &story{place: <-places, t: t, name: strings.Trim(name, "-"), clock: &operator.LaterClock{}, stopObserver: func() {}}
	t.Cleanup(func() { places <- s.place })
	s.clock.Passes(operator.AnnounceTime)
	s.use(t)
	proxy, err := staleproxy.New(s.rights)
	s.Expect(err).NotTo(HaveOccurred())
	s.proxy = proxy
	t.Cleanup(s.cleanUp)
	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})
	s.Expect(testbed.CreateNode(context.Background(), s.admin, testbed.Node(s.name+"-other", testbed.ControlPlaneNode(),
		testbed.InternalIP("10.77.1.1"), testbed.NodeReady(corev1.ConditionTrue)))).To(Succeed())
	for range members {
		s.join()
	}
	s.create(testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.label())))
	s.states = s.watchStates(t)
	s.world = newWorld(s.name, s.states.before)
	return s
}

func (s *story) use(t *testing.T) {
	s.WithT, s.t = NewWithT(t), t
	s.SetDefaultEventuallyTimeout(deadline)
	s.SetDefaultEventuallyPollingInterval(tick)
	s.SetDefaultConsistentlyPollingInterval(tick)
}

// in makes the story use a subtest, until the returned function is called.
func (s *story) in(t *testing.T) (back func()) {
	outer := s.t
	s.use(t)
	return func() { s.use(outer) }
}

func (s *story) label() map[string]string { return map[string]string{operator.StoryLabel: s.name} }

func (s *story) node(i int) string { return fmt.Sprintf("%s-%d", s.name, i+1) }

// address is the address of a node.
func address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

// join adds a node.
func (s *story) join() {
	s.t.Helper()
	node := testbed.Node(s.node(s.nodes), testbed.NodeLabels(s.label()), testbed.ControlPlaneNode(),
		testbed.InternalIP(address(s.nodes)), testbed.NodeReady(corev1.ConditionTrue))
	s.Expect(testbed.CreateNode(context.Background(), s.admin, node)).To(Succeed())
	s.nodes++
}

// leave deletes the node that joined last, and its record, as the garbage collector does.
func (s *story) leave() {
	s.t.Helper()
	s.nodes--
	is := metav1.ObjectMeta{Name: s.node(s.nodes)}
	s.Expect(s.admin.Delete(context.Background(), &corev1.Node{ObjectMeta: is})).To(Succeed())
	s.Expect(client.IgnoreNotFound(s.admin.Delete(context.Background(), &v1alpha1.ControlPlaneNodeRecord{ObjectMeta: is}))).To(Succeed())
}

// cleanUp deletes everything that the story has left, whatever its outcome.
func (s *story) cleanUp() {
	s.stop()
	s.stopObserver()
	s.proxy.Close()
	ctx := context.Background()
	policy := s.named()
	body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	s.Expect(client.IgnoreNotFound(s.admin.Patch(ctx, policy, body))).To(Succeed())
	s.Expect(client.IgnoreNotFound(s.admin.Delete(ctx, policy))).To(Succeed())
	ours := client.HasLabels{v1alpha1.LabelPolicy}
	for _, object := range []client.Object{
		&v3.HostEndpoint{}, &v3.FelixConfiguration{}, &v3.GlobalNetworkPolicy{}, &v3.GlobalNetworkSet{}, &v1alpha1.ControlPlaneNodeEnactment{},
	} {
		s.Expect(s.admin.DeleteAllOf(ctx, object, ours)).To(Succeed())
	}
	s.Expect(s.admin.DeleteAllOf(ctx, &networkingv1.NetworkPolicy{}, client.InNamespace(s.name))).To(Succeed())
	s.Expect(s.admin.DeleteAllOf(ctx, &corev1.Node{})).To(Succeed())
	s.Expect(s.admin.DeleteAllOf(ctx, &v1alpha1.ControlPlaneNodeRecord{})).To(Succeed())
}

// start starts an operator behind the proxy.
func (s *story) start() {
	s.t.Helper()
	running, err := operator.Start(s.proxy.Config(), controllers.Options{Clock: s.clock, StageTime: stageTime})
	s.Expect(err).NotTo(HaveOccurred())
	s.running = running
}

// stop stops the operator, if one runs.
func (s *story) stop() {
	if s.running == nil {
		return
	}
	if err := s.running.Stop(); err != nil {
		s.t.Errorf("the operator ended with: %v", err)
	}
	s.running = nil
}

// lasts waits for some time, and checks that the operator keeps running.
func (s *story) lasts(d time.Duration) {
	s.t.Helper()
	s.Consistently(s.running.Ended(), d).ShouldNot(BeClosed())
}

// within waits until a condition holds, but no longer than a given time: the stale state may prevent it.
func (s *story) within(d time.Duration, is func() bool) {
	for until := time.Now().Add(d); !is() && time.Now().Before(until); {
		s.lasts(2 * tick)
	}
}

func (s *story) create(object client.Object) {
	s.t.Helper()
	s.Expect(s.admin.Create(context.Background(), object)).To(Succeed())
}

func (s *story) named() *v1alpha1.ControlPlaneNetworkPolicy {
	return &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
}

// policy returns the story's policy, with one of everything.
func (s *story) policy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	return operator.Policy(s.name, change...)
}

// newRules returns a change of the policy that makes another version of the rules.
func (s *story) newRules() func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
	s.version++
	component := v1alpha1.Component{
		Name: "other", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}},
		Ports: []v1alpha1.Port{{Protocol: "TCP", Port: int32(20000 + s.version)}},
	}
	return func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components = slices.DeleteFunc(spec.Network.Components, func(c v1alpha1.Component) bool { return c.Name == component.Name })
		spec.Network.Components = append(spec.Network.Components, component)
	}
}

func (s *story) edit(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	s.t.Helper()
	s.Eventually(func() error {
		policy := s.named()
		if err := s.admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy); err != nil {
			return err
		}
		for _, c := range change {
			c(&policy.Spec)
		}
		return s.admin.Update(context.Background(), policy)
	}).Should(Succeed())
}

// annotate sets or removes an annotation of the policy.
func (s *story) annotate(key, value string) {
	s.t.Helper()
	text := "null"
	if value != "" {
		text = fmt.Sprintf("%q", value)
	}
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, text)
	s.Expect(s.admin.Patch(context.Background(), s.named(), client.RawPatch(types.MergePatchType, []byte(body)))).To(Succeed())
}

func (s *story) delete() {
	s.t.Helper()
	s.Expect(s.admin.Delete(context.Background(), s.named())).To(Succeed())
}

// remove deletes the policy, and waits until it no longer exists.
func (s *story) remove() {
	s.t.Helper()
	s.delete()
	s.gone()
}

// setNodeReady sets whether a node is ready.
func (s *story) setNodeReady(i int, is corev1.ConditionStatus) {
	s.t.Helper()
	s.Expect(testbed.SetNodeReady(context.Background(), s.admin, s.node(i), is)).To(Succeed())
}

// expectSound checks that no state of the cluster was wrong since the last call.
func (s *story) expectSound() {
	s.t.Helper()
	s.Expect(s.world.judge(s.states.take())).To(BeEmpty())
}
