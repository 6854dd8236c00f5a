// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"errors"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// observer looks at a cache that holds objects. The fake client serves only
// reads here, and only such that an informer's cache serves as well.
func observer(t *testing.T, objects ...client.Object) state.Observer {
	t.Helper()
	g, scheme := NewWithT(t), runtime.NewScheme()
	g.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
	cache := builder.Build()
	return state.Observer{Cache: cache, Live: cache, Backend: func() backend.Live { return calico.Live{} }}
}

func TestPoliciesComeOldestFirst(t *testing.T) {
	g := NewWithT(t)
	policy := func(name string, second int64) client.Object {
		return &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Unix(second, 0)}}
	}
	policies, err := observer(t, policy("c", 2), policy("b", 3), policy("d", 1), policy("a", 3)).ListPolicies(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(policies).To(HaveExactElements(
		HaveField("Name", "d"), HaveField("Name", "c"), HaveField("Name", "a"), HaveField("Name", "b")), "of equal age by name")
}

func TestServicesAndNodesAreSorted(t *testing.T) {
	g := NewWithT(t)
	service := func(namespace, name string) client.Object {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	node := func(name string) client.Object { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	observe := observer(t, service("b", "a"), service("a", "z"), service("a", "b"), node("cp-2"), node("cp-1"))
	services, err := observe.ListServices(t.Context(), nil)
	g.Expect(err).NotTo(HaveOccurred())
	var keys []string
	for _, s := range services {
		keys = append(keys, s.Key().String())
	}
	g.Expect(keys).To(Equal([]string{"a/b", "a/z", "b/a"}))
	snapshot, err := observe.TakeSnapshot(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(snapshot.Nodes).To(HaveExactElements(HaveField("Name", "cp-1"), HaveField("Name", "cp-2")))
}

func TestHostNetworkedPodsAreLookedForInSomeNamespacesOnly(t *testing.T) {
	g := NewWithT(t)
	pod := func(namespace string) client.Object {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod"}}
	}
	pods, err := observer(t, pod("a"), pod("b"), pod("c")).ListHostNetworkedPods(t.Context(), sets.New("c", "a"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pods).To(HaveExactElements(HaveField("Namespace", "a"), HaveField("Namespace", "c")))
}

func TestAMissingObjectIsAnErrorThatNamesIt(t *testing.T) {
	g := NewWithT(t)
	observe := observer(t)
	_, err := observe.GetNode(t.Context(), "cp-1")
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
	g.Expect(err).To(MatchError(HavePrefix("reading node cp-1: ")))
	_, err = observe.GetService(t.Context(), types.NamespacedName{Namespace: "shop", Name: "web"}, nil)
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
	var status apierrors.APIStatus
	g.Expect(errors.As(err, &status)).To(BeTrue())
}

func TestEnactmentsOfDeletedPoliciesAreOutlived(t *testing.T) {
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
		enactment("p.unowned", "p", ""), enactment("p.mixed", "q", "present")).TakeSnapshot(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(snapshot.Enactments).To(HaveExactElements(HaveField("Name", "p.a"), HaveField("Name", "p.b")))
	g.Expect(snapshot.Outlived).To(HaveExactElements(
		HaveField("Name", "gone.a"), HaveField("Name", "p.former"), HaveField("Name", "p.mixed"), HaveField("Name", "p.unowned")))
}
