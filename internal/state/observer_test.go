// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// observer looks at a cache that holds objects. Only reads are asked of the
// fake client here, and of those only what it does as an informer's cache does.
func observer(t *testing.T, objects ...client.Object) state.Observer {
	t.Helper()
	g, scheme := NewWithT(t), runtime.NewScheme()
	g.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	cache := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&discoveryv1.EndpointSlice{}, state.EndpointSlicesByService, state.IndexEndpointSlice).Build()
	return state.Observer{Cache: cache, Live: cache, Calico: func() state.Calico { return state.Calico{} }}
}

func TestPoliciesComeOldestFirst(t *testing.T) {
	g := NewWithT(t)
	policy := func(name string, second int64) client.Object {
		return &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(second, 0)}}
	}
	policies, err := observer(t, policy("c", 2), policy("b", 3), policy("d", 1), policy("a", 3)).Policies(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(policies).To(HaveExactElements(
		HaveField("Name", "d"), HaveField("Name", "c"), HaveField("Name", "a"), HaveField("Name", "b")), "of equal age by name")
}

func TestServiceHasAReadyEndpointWhereLoadBalancersSendTraffic(t *testing.T) {
	node := func(name string, labels map[string]string) client.Object {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	used, excluded := node("used", nil), node("excluded", map[string]string{corev1.LabelNodeExcludeBalancers: ""})
	slice := func(namespace, name, service, node string, ready bool) client.Object {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Endpoints:  []discoveryv1.Endpoint{{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		}
	}
	tests := map[string]struct {
		objects []client.Object
		want    bool
	}{
		"A ready endpoint on a node that is used":                 {[]client.Object{used, slice("shop", "a", "web", "used", true)}, true},
		"No endpoint at all":                                      {[]client.Object{used}, false},
		"An endpoint that is not ready":                           {[]client.Object{used, slice("shop", "a", "web", "used", false)}, false},
		"A ready endpoint on a node that is excluded":             {[]client.Object{excluded, slice("shop", "a", "web", "excluded", true)}, false},
		"A ready endpoint on a node that is gone":                 {[]client.Object{slice("shop", "a", "web", "gone", true)}, false},
		"A ready endpoint of another Service":                     {[]client.Object{used, slice("shop", "a", "db", "used", true)}, false},
		"A ready endpoint of such a Service in another namespace": {[]client.Object{used, slice("other", "a", "web", "used", true)}, false},
		"A ready endpoint in the second slice": {[]client.Object{
			used, excluded, slice("shop", "a", "web", "excluded", true), slice("shop", "b", "web", "used", true),
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			observe := observer(t, slices.Concat(test.objects, []client.Object{
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "edge"}}},
				&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}},
			})...)
			service, err := observe.Service(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(service.LocalReady).To(Equal(test.want))
			g.Expect(service.NamespaceLabels).To(HaveKeyWithValue("team", "edge"))

			asked := func(ask bool) []state.Service {
				services, err := observe.Services(t.Context(), func(*corev1.Service) bool { return ask })
				g.Expect(err).NotTo(HaveOccurred())
				return services
			}
			g.Expect(asked(true)).To(HaveExactElements(And(HaveField("LocalReady", test.want), HaveField("NamespaceLabels", HaveKey("team")))))
			g.Expect(asked(false)).To(HaveExactElements(HaveField("LocalReady", false)), "it is found out only where it matters")
		})
	}
}

func TestServicesAndNodesAreSorted(t *testing.T) {
	g := NewWithT(t)
	service := func(namespace, name string) client.Object {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	node := func(name string) client.Object { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	observe := observer(t, service("b", "a"), service("a", "z"), service("a", "b"), node("cp-2"), node("cp-1"))
	services, err := observe.Services(t.Context(), nil)
	g.Expect(err).NotTo(HaveOccurred())
	var keys []string
	for _, s := range services {
		keys = append(keys, s.Key().String())
	}
	g.Expect(keys).To(Equal([]string{"a/b", "a/z", "b/a"}))
	snapshot, err := observe.Snapshot(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(snapshot.Nodes).To(HaveExactElements(HaveField("Name", "cp-1"), HaveField("Name", "cp-2")))
}

func TestHostNetworkedPodsAreLookedForInSomeNamespacesOnly(t *testing.T) {
	g := NewWithT(t)
	pod := func(namespace string) client.Object {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod"}}
	}
	pods, err := observer(t, pod("a"), pod("b"), pod("c")).HostNetworkedPods(t.Context(), sets.New("c", "a"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pods).To(HaveExactElements(HaveField("Namespace", "a"), HaveField("Namespace", "c")))
}

func TestWhatIsNotThereIsAnErrorThatSaysSo(t *testing.T) {
	g := NewWithT(t)
	observe := observer(t)
	_, err := observe.Node(t.Context(), "cp-1")
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
	g.Expect(err).To(MatchError(HavePrefix("reading node cp-1: ")))
	_, err = observe.Service(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"})
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
	var status apierrors.APIStatus
	g.Expect(errors.As(err, &status)).To(BeTrue())
}

func TestEnactmentsOfPoliciesThatAreGoneAreOutlived(t *testing.T) {
	g := NewWithT(t)
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "present"}}
	enactment := func(name, policy string, owner types.UID) client.Object {
		e := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: name}}
		e.Spec.Policy = policy
		if owner != "" {
			e.OwnerReferences = []metav1.OwnerReference{{APIVersion: "cpnp.dev/v1alpha1", Kind: "ControlPlaneNetworkPolicy", Name: policy, UID: owner}}
		}
		return e
	}
	snapshot, err := observer(t, policy, enactment("p.b", "p", "present"), enactment("p.a", "p", "present"),
		enactment("p.former", "p", "former"), enactment("gone.a", "gone", "past"),
		enactment("p.unowned", "p", ""), enactment("p.mixed", "q", "present")).Snapshot(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(snapshot.Enactments).To(HaveExactElements(HaveField("Name", "p.a"), HaveField("Name", "p.b")))
	g.Expect(snapshot.Outlived).To(HaveExactElements(
		HaveField("Name", "gone.a"), HaveField("Name", "p.former"), HaveField("Name", "p.mixed"), HaveField("Name", "p.unowned")))
}
