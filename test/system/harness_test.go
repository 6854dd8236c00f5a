// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// deadline is long, because other tests run at the same time.
	deadline = 40 * time.Second
	tick     = 50 * time.Millisecond
)

// story is a test with a cluster for itself: names, a namespace, nodes, and an operator
// with the same lifetime.
type story struct {
	*WithT
	*place
	t     *testing.T
	ctx   context.Context
	name  string
	clock clock.PassiveClock // of the story's operators
	// own is the name of the operator's own pod, and pause is the time for evicted pods to
	// run elsewhere.
	own   string
	pause time.Duration
	// running is closed once the last started operator has read the cluster.
	running <-chan struct{}
}

// beginStory begins a story in a free cluster, in parallel with other stories.
func beginStory(t *testing.T) *story {
	t.Helper()
	t.Parallel()
	return beginStoryAlone(t)
}

// beginStoryAlone begins a story before all stories that run in parallel, for what concerns
// the whole process.
func beginStoryAlone(t *testing.T) *story {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test")))
	s := &story{WithT: NewWithT(t), place: usePlace(t), t: t, ctx: t.Context(), name: name[:min(len(name), 40)], clock: clock.RealClock{}, pause: time.Millisecond}
	s.setPolling()
	s.Expect(s.admin.Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})).To(Succeed())
	t.Cleanup(func() { s.cleanUp() })
	return s
}

// usePlace waits for a free cluster, and frees the cluster when the test ends.
func usePlace(t *testing.T) *place {
	t.Helper()
	p := <-places
	t.Cleanup(func() { places <- p })
	return p
}

// inSubtest returns the story for a subtest.
func (s *story) inSubtest(t *testing.T) *story {
	s = &story{WithT: NewWithT(t), place: s.place, t: t, ctx: s.ctx, name: s.name, clock: s.clock, pause: s.pause}
	s.setPolling()
	return s
}

func (s *story) setPolling() {
	s.SetDefaultEventuallyTimeout(deadline)
	s.SetDefaultEventuallyPollingInterval(tick)
}

// cleanUp removes all objects that would disturb the next story. The test's own context has
// ended by then.
func (s *story) cleanUp() {
	ctx := context.Background()
	var policies v1alpha1.ControlPlaneNetworkPolicyList
	s.Expect(s.admin.List(ctx, &policies)).To(Succeed())
	for i := range policies.Items {
		policy := &policies.Items[i]
		body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		s.Expect(client.IgnoreNotFound(s.admin.Patch(ctx, policy, body))).To(Succeed())
		s.Expect(client.IgnoreNotFound(s.admin.Delete(ctx, policy))).To(Succeed())
	}
	s.Expect(s.admin.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(s.name), client.GracePeriodSeconds(0))).To(Succeed())
	// All nodes are deleted, with any labels: a remaining node would show an address of the
	// next story.
	s.Expect(s.admin.DeleteAllOf(ctx, &corev1.Node{})).To(Succeed())
}

// startOperator starts the operator with the shipped rights, and returns a function to stop
// the operator, which also stops when the test ends.
func (s *story) startOperator() (stop func()) { return s.startOperatorAs(s.rights) }

func (s *story) startOperatorAs(config *rest.Config, change ...func(*ctrl.Options)) (stop func()) {
	s.t.Helper()
	mgr, err := operator.NewManager(config, change...)
	s.Expect(err).NotTo(HaveOccurred())
	s.running = mgr.Elected()
	ctx, cancel := context.WithCancel(context.Background())
	s.Expect(controllers.SetupWithManager(ctx, mgr, s.controllerOptions())).To(Succeed())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				s.t.Errorf("the operator ended with: %v", err)
			}
		}
	}
	s.t.Cleanup(stop)
	return stop
}

func (s *story) controllerOptions() controllers.Options {
	o := controllers.Options{Clock: s.clock, EvictionPause: s.pause}
	if s.own != "" {
		o.Own = types.NamespacedName{Namespace: s.name, Name: s.own}
	}
	return o
}

// createNodes creates control-plane nodes for the policies of the story.
func (s *story) createNodes(count int, options ...testbed.NodeOption) []string {
	s.t.Helper()
	var names []string
	for i := range count {
		name := fmt.Sprintf("%s-%d", s.name, i+1)
		all := append([]testbed.NodeOption{testbed.NodeLabels(s.storyLabels()), testbed.InternalIP(fmt.Sprintf("10.77.0.%d", i+11))}, options...)
		s.Expect(testbed.CreateNode(s.ctx, s.admin, testbed.Node(name, all...))).To(Succeed())
		names = append(names, name)
	}
	return names
}

func (s *story) storyLabels() map[string]string { return map[string]string{"story": s.name} }

func (s *story) matchLabels() v1alpha1.LabelSelector {
	return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"story": v1alpha1.LabelValue(s.name)}}
}

const dedicated = "node-role.kubernetes.io/control-plane"

// newPolicy returns a policy of the story with every kind of declaration.
func (s *story) newPolicy() *v1alpha1.ControlPlaneNetworkPolicy {
	return &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: s.name},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: s.matchLabels(),
			Network:      &v1alpha1.NetworkSpec{Components: []v1alpha1.Component{s.corednsComponent()}},
			Taints:       []v1alpha1.Taint{{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}},
			Services: []v1alpha1.ServiceTrafficPolicy{{
				Name: "all", Selector: s.matchLabels(), NamespaceSelector: &v1alpha1.LabelSelector{},
				InternalTrafficPolicy: corev1.ServiceInternalTrafficPolicyLocal, LocalPolicy: v1alpha1.LocalForce,
			}},
		},
	}
}

func (s *story) corednsComponent() v1alpha1.Component {
	return v1alpha1.Component{
		Name:      "coredns",
		Pods:      &v1alpha1.PodSelector{Namespace: s.name, Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"k8s-app": "kube-dns"}}},
		Ports:     []v1alpha1.Port{{Protocol: "UDP", Port: 53}},
		AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RolePods}, {Role: v1alpha1.RoleControlPlane}},
	}
}

func (s *story) createObjects(objects ...client.Object) {
	s.t.Helper()
	for _, object := range objects {
		s.Expect(s.admin.Create(s.ctx, object)).To(Succeed())
	}
}

// createService creates a Service for the policies of the story.
func (s *story) createService(name string, kind corev1.ServiceType) *corev1.Service {
	s.t.Helper()
	service := testbed.Service(s.name, name, kind, testbed.ServiceLabels(s.storyLabels()))
	s.createObjects(service)
	return service
}

// editPolicy changes the policy's spec.
func (s *story) editPolicy(name string, change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	s.t.Helper()
	s.Eventually(func() error {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		if err := s.admin.Get(s.ctx, client.ObjectKey{Name: name}, policy); err != nil {
			return err
		}
		change(&policy.Spec)
		return s.admin.Update(s.ctx, policy)
	}).Should(Succeed())
}

func (s *story) getPolicy(name string) *v1alpha1.ControlPlaneNetworkPolicy {
	s.t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Name: name}, policy)).To(Succeed())
	return policy
}

// conditionOf returns "Status/Reason" of a condition of the current generation.
func (s *story) conditionOf(name, kind string) func() string {
	return func() string {
		policy := s.getPolicy(name)
		c := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if c == nil || c.ObservedGeneration != policy.Generation {
			return ""
		}
		return string(c.Status) + "/" + c.Reason
	}
}

func (s *story) messageOf(name, kind string) string {
	if c := meta.FindStatusCondition(s.getPolicy(name).Status.Conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

func (s *story) waitUntilReady(name string) {
	s.t.Helper()
	s.Eventually(s.conditionOf(name, v1alpha1.ConditionReady)).Should(Equal("True/AsDeclared"), func() string { return s.messageOf(name, v1alpha1.ConditionReady) })
}

// waitUntilAudited waits until a policy in mode Audit has compared everything.
func (s *story) waitUntilAudited(name string) {
	s.t.Helper()
	s.Eventually(s.conditionOf(name, v1alpha1.ConditionReady)).Should(Equal("True/Audited"), func() string { return s.messageOf(name, v1alpha1.ConditionReady) })
}

func (s *story) getNode(name string) *corev1.Node {
	s.t.Helper()
	node := &corev1.Node{}
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Name: name}, node)).To(Succeed())
	return node
}

// taintsOf returns the node's taints as "key=value:effect", without Kubernetes' own taints.
func (s *story) taintsOf(node string) func() []string {
	return func() []string {
		taints := []string{}
		for _, taint := range s.getNode(node).Spec.Taints {
			if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
				taints = append(taints, taint.ToString())
			}
		}
		return taints
	}
}

func (s *story) getService(name string) *corev1.Service {
	s.t.Helper()
	service := &corev1.Service{}
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Namespace: s.name, Name: name}, service)).To(Succeed())
	return service
}

func (s *story) networkPolicies() []networkingv1.NetworkPolicy {
	s.t.Helper()
	var list networkingv1.NetworkPolicyList
	s.Expect(s.admin.List(s.ctx, &list, client.InNamespace(s.name))).To(Succeed())
	return list.Items
}

// networkPolicyOf returns the NetworkPolicy of one of the policy's components.
func (s *story) networkPolicyOf(component string) *networkingv1.NetworkPolicy {
	s.t.Helper()
	policy := &networkingv1.NetworkPolicy{}
	s.Expect(s.admin.Get(s.ctx, client.ObjectKey{Namespace: s.name, Name: "cpnp." + s.name + "." + component}, policy)).To(Succeed())
	return policy
}

// readPosture returns all fields declared by the story's policies, by object.
func (s *story) readPosture() map[string]any {
	s.t.Helper()
	posture := map[string]any{}
	for _, policy := range s.networkPolicies() {
		posture["NetworkPolicy/"+policy.Name] = []any{policy.Labels, policy.Annotations, policy.Spec}
	}
	var nodes corev1.NodeList
	s.Expect(s.admin.List(s.ctx, &nodes, client.MatchingLabels(s.storyLabels()))).To(Succeed())
	for _, node := range nodes.Items {
		posture["Node/"+node.Name] = []any{node.Labels, node.Spec.Taints, s.recordedTaints(node.Name)()}
	}
	var services corev1.ServiceList
	s.Expect(s.admin.List(s.ctx, &services, client.InNamespace(s.name))).To(Succeed())
	for _, service := range services.Items {
		posture["Service/"+service.Name] = []any{service.Labels, service.Spec, service.Annotations[v1alpha1.AnnotationRecord]}
	}
	return posture
}

// recordedTaints returns the taints in the record of a node.
func (s *story) recordedTaints(node string) func() []v1alpha1.RecordedTaint {
	return func() []v1alpha1.RecordedTaint {
		record := &v1alpha1.ControlPlaneNodeRecord{}
		s.Expect(client.IgnoreNotFound(s.admin.Get(s.ctx, client.ObjectKey{Name: node}, record))).To(Succeed())
		return record.Spec.Taints
	}
}

// joinNode adds one more control-plane node.
func (s *story) joinNode(address string, more ...testbed.NodeOption) string {
	s.t.Helper()
	name := s.name + "-" + strings.ReplaceAll(address, ".", "-")
	all := append([]testbed.NodeOption{testbed.NodeLabels(s.storyLabels()), testbed.InternalIP(address)}, more...)
	s.Expect(testbed.CreateNode(s.ctx, s.admin, testbed.Node(name, all...))).To(Succeed())
	return name
}

// eventsOf returns the events of a policy.
func (s *story) eventsOf(name string) func() []eventsv1.Event {
	return func() []eventsv1.Event {
		var list eventsv1.EventList
		s.Expect(s.admin.List(s.ctx, &list)).To(Succeed())
		return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.Name != name })
	}
}
