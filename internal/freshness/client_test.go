// SPDX-License-Identifier: Apache-2.0

package freshness

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	shipped "github.com/cpnp-dev/cpnp-operator/internal/options"
)

// The client notes each of its writes of an object that rollouts depend on, with the version after the write.
func TestOwnWritesAreNoted(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Now())
	confirmed := &Confirmed{caughtUp: true}
	api := fake.NewClientBuilder().WithScheme(shipped.NewScheme()).WithStatusSubresource(&v1alpha1.ControlPlaneNodeEnactment{}).Build()
	c := NewClient(api, confirmed, nil, now)
	e := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: "p.cp-1"}}
	of := drift.Object{Kind: drift.KindEnactment, Name: e.Name}
	last := func() ownWrite { return confirmed.writes[of] }
	g.Expect(c.Create(t.Context(), e)).To(Succeed())
	g.Expect(last().version).To(Equal(e.ResourceVersion))
	changed := e.DeepCopy()
	changed.Spec.Node = "cp-1"
	g.Expect(c.Patch(t.Context(), changed, client.MergeFrom(e))).To(Succeed())
	g.Expect(last().version).To(And(Equal(changed.ResourceVersion), Not(Equal(e.ResourceVersion))))
	status := changed.DeepCopy()
	status.Status.Ruleset = "x"
	g.Expect(c.Status().Patch(t.Context(), status, client.MergeFrom(changed))).To(Succeed())
	g.Expect(last().version).To(And(Equal(status.ResourceVersion), Not(Equal(changed.ResourceVersion))))
	g.Expect(c.Delete(t.Context(), status)).To(Succeed())
	g.Expect(last()).To(Equal(ownWrite{version: status.ResourceVersion, gone: true, at: now.Now()}))
	g.Expect(confirmed.caughtUp).To(BeTrue())

	g.Expect(c.Create(t.Context(), &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "x"}})).To(Succeed())
	g.Expect(confirmed.writes).To(HaveKey(drift.Object{Kind: v3.KindHostEndpoint, Name: "x"}))
	g.Expect(client.IgnoreNotFound(c.Delete(t.Context(), status))).To(Succeed())
	g.Expect(confirmed.caughtUp).To(BeFalse(), "the cache showed that the object is missing")
}

// The answer to an apply is the object after the apply.
func TestOwnAppliesAreNoted(t *testing.T) {
	g := NewWithT(t)
	confirmed := &Confirmed{}
	c := NewClient(answering{version: "17"}, confirmed, nil, clocktesting.NewFakePassiveClock(time.Now()))
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v3.SchemeGroupVersion.WithKind(v3.KindHostEndpoint))
	object.SetName("x")
	g.Expect(c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object))).To(Succeed())
	g.Expect(confirmed.writes[drift.Object{Kind: v3.KindHostEndpoint, Name: "x"}].version).To(Equal("17"))
}

// answering is an API server that answers an apply with a version.
type answering struct {
	client.Client
	version string
}

func (a answering) Apply(_ context.Context, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	object.(interface{ SetResourceVersion(version string) }).SetResourceVersion(a.version)
	return nil
}
