// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// world has everything that the NetworkPolicies of one policy depend on.
type world struct {
	policy  *v1alpha1.ControlPlaneNetworkPolicy
	other   *v1alpha1.ControlPlaneNetworkPolicy // older, in another namespace
	master  *corev1.Node
	worker  *corev1.Node
	servers *discoveryv1.EndpointSlice
	dns     *corev1.Service
	pod     *corev1.Pod // of the operator
	more    []client.Object
	calico  calico.Live
	now     time.Time
}

func newWorld() *world {
	component := func(namespace, name, app string) v1alpha1.Component {
		return v1alpha1.Component{
			Name: name, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 443}},
			Pods: &v1alpha1.PodSelector{Namespace: namespace, Selector: v1alpha1.LabelSelector{
				MatchLabels: map[string]v1alpha1.LabelValue{"app": v1alpha1.LabelValue(app)},
			}},
			AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}, {Role: v1alpha1.RoleNodes}},
			AllowTo:   []v1alpha1.Destination{{Role: v1alpha1.RoleControlPlane, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 6443}}}},
		}
	}
	of := func(name string, age int64, components ...v1alpha1.Component) *v1alpha1.ControlPlaneNetworkPolicy {
		return &v1alpha1.ControlPlaneNetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, UID: types.UID(name), Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(age, 0)), Finalizers: []string{v1alpha1.Finalizer},
			},
			Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
				Mode: v1alpha1.ModeEnforce, NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"selected": "yes"}},
				Network: &v1alpha1.NetworkSpec{Components: components},
			},
		}
	}
	node := func(name, address string, labels map[string]string) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: labels, Annotations: map[string]string{}},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
		}
	}
	return &world{
		policy: of("p", 2, component("kube-system", "web", "web")),
		other:  of("other", 1, component("elsewhere", "web", "web")),
		master: node("cp-1", "10.0.0.1", map[string]string{"node-role.kubernetes.io/control-plane": "", "selected": "yes"}),
		worker: node("w-1", "10.0.0.9", map[string]string{"a": "b"}),
		servers: &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"},
			},
			Ports:     []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}},
		},
		dns: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "dns"}},
		pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "operator", UID: "operator"}},
		now: time.Unix(1000, 0),
	}
}

// snapshot observes the world as from a cache.
func (w *world) snapshot(t *testing.T, memory *state.NodeMemory) ([]plan.Policy, state.Snapshot) {
	t.Helper()
	objects := []client.Object{w.policy.DeepCopy(), w.other.DeepCopy(), w.master.DeepCopy(), w.worker.DeepCopy(), w.servers.DeepCopy(), w.dns.DeepCopy()}
	builder := fake.NewClientBuilder().WithScheme(options.NewScheme()).WithObjects(append(objects, w.more...)...)
	pods := fake.NewClientBuilder().WithScheme(options.NewScheme()).WithObjects(w.pod.DeepCopy()).Build()
	cache := builder.Build()
	observer := state.Observer{
		Cache: cache, Backend: func() backend.Live { return w.calico }, Nodes: memory,
		Own: state.Own{Pod: types.NamespacedName{Namespace: "kube-system", Name: "operator"}, Pods: pods},
		ConfigMaps: state.ConfigMaps{
			{Namespace: "kube-system", Name: "cilium-config"}: cache,
		},
	}
	snapshot, err := observer.TakeSnapshot(t.Context())
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	snapshot.Now = w.now
	return plan.Compile(snapshot.Policies), snapshot
}

// Each input of a plan is changed once, and every change gives another plan.
func TestRememberedNetworkPoliciesFollowEveryInput(t *testing.T) {
	tunnel := "projectcalico.org/IPv4VXLANTunnelAddr"
	hour := metav1.NewTime(time.Unix(1000, 0).Add(-time.Hour))
	for name, change := range map[string]func(*world){
		"an address of a node": func(w *world) { w.worker.Status.Addresses[0].Address = "10.0.0.8" },
		"a label of a node":    func(w *world) { w.worker.Labels = map[string]string{"selected": "yes"} },
		"a tunnel of a node":   func(w *world) { w.worker.Annotations[tunnel] = "10.7.0.1" },
		"another node":         func(w *world) { w.worker.Name = "w-2"; w.worker.Status.Addresses[0].Address = "10.0.0.7" },
		"an API server":        func(w *world) { w.servers.Endpoints[0].Addresses = []string{"10.0.0.1", "10.0.0.3"} },
		"a remembered API server": func(w *world) {
			w.policy.Status.APIServers = []v1alpha1.APIServerAddress{{Address: "10.0.0.4", MissingSince: &hour}}
		},
		"the spec":                 func(w *world) { w.policy.Spec.Network.Components[0].Ports[0].Port = 444 },
		"the annotation to revert": func(w *world) { w.policy.Annotations = map[string]string{v1alpha1.AnnotationRevert: "an emergency"} },
		"an older policy":          func(w *world) { w.other.Spec.Network.Components[0].Pods.Namespace = "kube-system" },
		"the cluster's DNS": func(w *world) {
			w.dns.Name, w.dns.Spec.Selector = "kube-dns", map[string]string{"app": "web"}
			w.more = append(w.more, &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "kube-system", Name: "kube-dns", Labels: map[string]string{discoveryv1.LabelServiceName: "kube-dns"},
				},
				Ports: []discoveryv1.EndpointPort{{Name: ptr.To("dns"), Protocol: ptr.To(corev1.ProtocolUDP), Port: ptr.To[int32](53)}},
			})
		},
		"a DaemonSet": func(w *world) {
			w.more = append(w.more, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cilium"}})
		},
		"the declared CNI": func(w *world) { w.policy.Spec.Profile.CNI = "cilium" },
	} {
		t.Run(name, func(t *testing.T) { remembered(t, newWorld(), change) })
	}
	t.Run("a pool of Calico", func(t *testing.T) {
		w := newWorld()
		w.worker.Annotations[tunnel] = "10.7.0.1"
		remembered(t, w, func(w *world) { w.calico.Pools = []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.8.0.0/16"}}} })
	})
	t.Run("the operator's pod", func(t *testing.T) {
		w := newWorld()
		w.policy.Spec.Network.Components[0].AllowTo[0].Ports[0].Port = 1
		remembered(t, w, func(w *world) { w.pod.Labels = map[string]string{"app": "web"} })
	})
	t.Run("the port of an API server", func(t *testing.T) {
		w := newWorld()
		w.pod.Labels = map[string]string{"app": "web"}
		w.policy.Spec.Network.Components[0].AllowTo[0].Ports = append(w.policy.Spec.Network.Components[0].AllowTo[0].Ports,
			v1alpha1.Port{Protocol: "UDP", Port: 53})
		remembered(t, w, func(w *world) { w.servers.Ports[0].Port = ptr.To[int32](7443) })
	})
	t.Run("the time", func(t *testing.T) {
		w := newWorld()
		w.policy.Status.APIServers = []v1alpha1.APIServerAddress{{Address: "10.0.0.4", MissingSince: &hour}}
		remembered(t, w, func(w *world) { w.now = w.now.AddDate(0, 0, 8) })
	})
	t.Run("the deletion", func(t *testing.T) {
		remembered(t, newWorld(), func(w *world) { now := metav1.Now(); w.policy.DeletionTimestamp = &now })
	})
}

// remembered fails if a memory that knows the world misses a change.
func remembered(t *testing.T, w *world, change func(*world)) {
	t.Helper()
	var memory plan.NetworkMemory
	var nodes state.NodeMemory
	policies, snapshot := w.snapshot(t, &nodes)
	before := memory.NetworkPolicies(plan.FindPolicy(policies, "p"), policies, snapshot)

	change(w)
	policies, snapshot = w.snapshot(t, &nodes)
	want := plan.NetworkPolicies(plan.FindPolicy(policies, "p"), policies, snapshot)
	if cmp.Equal(before, want) {
		t.Fatal("the change has no consequence, so this case tests nothing")
	}
	if diff := cmp.Diff(want, memory.NetworkPolicies(plan.FindPolicy(policies, "p"), policies, snapshot)); diff != "" {
		t.Errorf("the memory misses the change (-want +got):\n%s", diff)
	}
}

// A repair changes no input of a plan; neither do heartbeats of nodes, taints and reports.
func TestRepairsRenderNoNetworkPoliciesAgain(t *testing.T) {
	g := NewWithT(t)
	w := newWorld()
	var memory plan.NetworkMemory
	var nodes state.NodeMemory
	plans := func() *plan.Network {
		policies, snapshot := w.snapshot(t, &nodes)
		network := memory.NetworkPolicies(plan.FindPolicy(policies, "p"), policies, snapshot)
		return &network
	}
	before := plans()
	g.Expect(before.Objects).To(HaveLen(1))
	w.worker.ResourceVersion, w.worker.Spec.Taints = "77", []corev1.Taint{{Key: "k", Effect: "NoSchedule"}}
	w.policy.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDrifted}}
	g.Expect(plans().Objects[0]).To(BeIdenticalTo(before.Objects[0]))
	w.worker.Labels["x"] = "y"
	g.Expect(plans().Objects[0]).NotTo(BeIdenticalTo(before.Objects[0]), "another node")
}

// Every part of a snapshot is either compared by the memory, or never read.
func TestTheMemoryKnowsEveryPartOfASnapshot(t *testing.T) {
	known := map[string]string{
		"Now": "by the known API servers", "Unconfirmed": "not read", "ConfirmError": "not read", "Policies": "as compiled",
		"Nodes": "by SameNodes", "Enactments": "not read", "Outlived": "not read", "NetworkPolicies": "not read",
		"Backend": "by the known API servers and SameNodes", "Facts": "compared", "Operator": "compared", "Serving": "compared",
		"addresses": "by SameNodes", "identity": "by SameNodes",
	}
	for field := range reflect.TypeFor[state.Snapshot]().Fields() {
		if known[field.Name] == "" {
			t.Errorf("does NetworkPolicies read Snapshot.%s? Then compare it in networkInput", field.Name)
		}
	}
}
