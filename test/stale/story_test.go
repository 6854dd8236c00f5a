// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/staleproxy"
)

const (
	// deadline is long: a machine may compile at the same time.
	deadline = 30 * time.Second
	tick     = 10 * time.Millisecond
	// stageTime leaves no node behind: there is none that enforces anything.
	stageTime = 100 * time.Millisecond
	// announceTime is rollout.announceTime, and what is rounded off: the operator's
	// clock is as much ahead of the API server's, since no observer is to come here.
	announceTime = 4 * time.Second
	members      = 3
	// taintKey is that of the taint that the policy declares.
	taintKey = "story"
)

// story is one policy, with nodes, a namespace and a Service of its own, and the proxy
// that its operators ask.
type story struct {
	*WithT
	t      *testing.T
	name   string
	proxy  *staleproxy.Proxy
	states *states
	clock  *laterClock
	stop   func()
}

// laterClock is the machine's, and some time later.
type laterClock struct{ by atomic.Int64 }

func (c *laterClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *laterClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func begin(t *testing.T) *story {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "-", "#", "").Replace(strings.TrimPrefix(t.Name(), "Test")))
	if len(name) > 40 {
		name = name[len(name)-40:]
	}
	s := &story{WithT: NewWithT(t), t: t, name: strings.Trim(name, "-"), clock: &laterClock{}}
	s.SetDefaultEventuallyTimeout(deadline)
	s.SetDefaultEventuallyPollingInterval(tick)
	s.clock.by.Store(int64(announceTime))
	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})
	for i := range members {
		node := testbed.Node(s.node(i), testbed.NodeLabels(map[string]string{"story": s.name}),
			testbed.InternalIP(fmt.Sprintf("10.77.0.%d", i+1)), testbed.NodeReady(corev1.ConditionTrue))
		s.Expect(testbed.CreateNode(t.Context(), admin, node)).To(Succeed())
	}
	s.create(testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(map[string]string{"story": s.name})))
	proxy, err := staleproxy.New(operatorConfig)
	s.Expect(err).NotTo(HaveOccurred())
	s.proxy, s.states = proxy, watchStates(t)
	t.Cleanup(s.end)
	return s
}

func (s *story) node(i int) string { return fmt.Sprintf("%s-%d", s.name, i+1) }

// end takes everything away that the story has left, whatever came of it.
func (s *story) end() {
	if s.stop != nil {
		s.stop()
	}
	s.proxy.Close()
	ctx := context.Background()
	policy := s.named()
	body := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	s.Expect(client.IgnoreNotFound(admin.Patch(ctx, policy, body))).To(Succeed())
	s.Expect(client.IgnoreNotFound(admin.Delete(ctx, policy))).To(Succeed())
	ours := client.HasLabels{v1alpha1.LabelPolicy}
	for _, object := range []client.Object{
		&v3.HostEndpoint{}, &v3.FelixConfiguration{}, &v3.GlobalNetworkPolicy{}, &v3.GlobalNetworkSet{}, &v1alpha1.ControlPlaneNodeEnactment{},
	} {
		s.Expect(admin.DeleteAllOf(ctx, object, ours)).To(Succeed())
	}
	s.Expect(admin.DeleteAllOf(ctx, &networkingv1.NetworkPolicy{}, client.InNamespace(s.name))).To(Succeed())
	s.Expect(admin.DeleteAllOf(ctx, &corev1.Node{})).To(Succeed())
	s.Expect(admin.DeleteAllOf(ctx, &v1alpha1.ControlPlaneNodeRecord{})).To(Succeed())
}

// operator starts an operator behind the proxy.
func (s *story) operator() {
	s.t.Helper()
	mgr, err := operator.NewManager(s.proxy.Config())
	s.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	s.Expect(controllers.SetupWith(ctx, mgr, controllers.Options{Clock: s.clock, StageTime: stageTime})).To(Succeed())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	s.stop = func() {
		s.stop = nil
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the operator ended with: %v", err)
		}
	}
}

func (s *story) create(object client.Object) {
	s.t.Helper()
	s.Expect(admin.Create(context.Background(), object)).To(Succeed())
}

func (s *story) named() *v1alpha1.ControlPlaneNetworkPolicy {
	return &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
}

// policy returns the story's policy, of one of everything.
func (s *story) policy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	labels := func(key, value string) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: v1alpha1.LabelValue(value)}}
	}
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	policy := s.named()
	policy.Spec = v1alpha1.ControlPlaneNetworkPolicySpec{
		Mode:         v1alpha1.ModeEnforce,
		NodeSelector: labels("story", s.name),
		Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico"},
		Rollout:      &v1alpha1.Rollout{SoakSeconds: ptr.To(int32(0))},
		Taints:       []v1alpha1.Taint{{Key: taintKey, Effect: corev1.TaintEffectNoSchedule}},
		Services: []v1alpha1.ServiceTrafficPolicy{{
			Name: "all", Selector: labels("story", s.name), NamespaceSelector: &v1alpha1.LabelSelector{},
			InternalTrafficPolicy: corev1.ServiceInternalTrafficPolicyLocal, LocalPolicy: v1alpha1.LocalForce,
		}},
		Network: &v1alpha1.NetworkSpec{
			Failsafe: v1alpha1.FailsafeScope,
			Components: []v1alpha1.Component{
				{Name: "etcd", AllowFrom: controlPlane},
				{
					Name:      "coredns",
					Pods:      &v1alpha1.PodSelector{Namespace: s.name, Selector: labels("k8s-app", "kube-dns")},
					Ports:     []v1alpha1.Port{{Protocol: "UDP", Port: 53}},
					AllowFrom: controlPlane,
				},
			},
		},
	}
	for _, c := range change {
		c(&policy.Spec)
	}
	return policy
}

func soak(seconds int32) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
	return func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) { spec.Rollout.SoakSeconds = &seconds }
}

// withKubelet restricts one more component.
func withKubelet(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
	spec.Network.Components = append(spec.Network.Components, v1alpha1.Component{
		Name: "kubelet", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}},
	})
}

func (s *story) edit(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	s.t.Helper()
	s.Eventually(func() error {
		policy := s.named()
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy); err != nil {
			return err
		}
		for _, c := range change {
			c(&policy.Spec)
		}
		return admin.Update(context.Background(), policy)
	}).Should(Succeed())
}

// annotate sets an annotation of the policy, or takes it away.
func (s *story) annotate(key, value string) {
	s.t.Helper()
	text := "null"
	if value != "" {
		text = fmt.Sprintf("%q", value)
	}
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, text)
	s.Expect(admin.Patch(context.Background(), s.named(), client.RawPatch(types.MergePatchType, []byte(body)))).To(Succeed())
}

// condition is "Status/Reason" of the present generation.
func (s *story) condition(kind string) func() string {
	return func() string {
		policy := s.named()
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if c == nil || c.ObservedGeneration != policy.Generation {
			return "none"
		}
		return string(c.Status) + "/" + c.Reason
	}
}

func (s *story) tell() string {
	policy := s.named()
	if err := admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy); err != nil {
		return err.Error()
	}
	text := ""
	for _, c := range policy.Status.Conditions {
		text += fmt.Sprintf("%s=%s/%s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for i := range members {
		text += fmt.Sprintf("%s: %s\n", s.node(i), s.phase(i)())
	}
	return text
}

func (s *story) ready() {
	s.t.Helper()
	s.Eventually(s.condition(v1alpha1.ConditionReady)).Should(Equal("True/AsDeclared"), s.tell)
}

// phase is "Phase/Reason" of a node.
func (s *story) phase(i int) func() string {
	return func() string {
		e := &v1alpha1.ControlPlaneNodeEnactment{}
		if err := admin.Get(context.Background(), client.ObjectKey{Name: rollout.Name(s.name, s.node(i))}, e); err != nil {
			return "none"
		}
		phase := rollout.PhaseOf(e)
		if c := meta.FindStatusCondition(e.Status.Conditions, phase); c != nil {
			return phase + "/" + c.Reason
		}
		return phase
	}
}

// endpoints are the nodes that have rules, with their version.
func (s *story) endpoints() []string {
	s.t.Helper()
	var list v3.HostEndpointList
	s.Expect(admin.List(context.Background(), &list)).To(Succeed())
	var found []string
	for i := range list.Items {
		if list.Items[i].Labels[v1alpha1.LabelPolicy] == s.name {
			found = append(found, list.Items[i].Spec.Node+" "+list.Items[i].Labels[calico.LabelVersion])
		}
	}
	return found
}

// remove deletes the policy, and waits until it is gone.
func (s *story) remove() {
	s.t.Helper()
	s.Expect(admin.Delete(context.Background(), s.named())).To(Succeed())
	s.gone()
}

func (s *story) gone() {
	s.t.Helper()
	s.Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(context.Background(), client.ObjectKeyFromObject(s.named()), s.named()))
	}).Should(BeTrue(), s.tell)
}

// nodeReady says whether a node is ready.
func (s *story) nodeReady(i int, is corev1.ConditionStatus) {
	s.t.Helper()
	s.Expect(testbed.SetNodeReady(context.Background(), admin, s.node(i), is)).To(Succeed())
}

// sound says that nothing was wrong in any state of the cluster.
func (s *story) sound() {
	s.t.Helper()
	s.Expect(s.states.judge(s.name)).To(BeEmpty())
}
