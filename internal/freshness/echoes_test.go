// SPDX-License-Identifier: Apache-2.0

package freshness

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// applying is an API server that calls a function before it answers an apply.
type applying struct {
	client.Client
	answer func() (version string, err error)
}

func (a applying) Apply(_ context.Context, object runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	version, err := a.answer()
	object.(interface{ SetResourceVersion(version string) }).SetResourceVersion(version)
	return err
}

// The event of a write may come before its answer, and is the operator's own in both cases.
func TestEventsOfOwnWritesAreKnown(t *testing.T) {
	g, echoes := NewWithT(t), &Echoes{}
	web := drift.Object{Kind: drift.KindNetworkPolicy, Namespace: "n", Name: "cpnp.p.web"}
	other := drift.Object{Kind: drift.KindNetworkPolicy, Namespace: "other", Name: "cpnp.p.web"}
	apply := func(version string, err error) error {
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"))
		object.SetNamespace(web.Namespace)
		object.SetName(web.Name)
		api := applying{answer: func() (string, error) {
			g.Expect(echoes.IsEcho(web, "any")).To(BeTrue(), "not answered yet")
			g.Expect(echoes.IsEcho(other, "any")).To(BeFalse(), "another namespace")
			return version, err
		}}
		c := NewClient(api, &Confirmed{}, echoes, clocktesting.NewFakePassiveClock(time.Now()))
		return c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object))
	}
	g.Expect(echoes.IsEcho(web, "6")).To(BeFalse(), "nothing was written")
	g.Expect(apply("7", nil)).To(Succeed())
	g.Expect(echoes.IsEcho(web, "7")).To(BeTrue())
	g.Expect(echoes.IsEcho(web, "8")).To(BeFalse(), "somebody else wrote later")
	g.Expect(echoes.IsEcho(other, "7")).To(BeFalse())
	g.Expect(apply("9", errors.New("refused"))).NotTo(Succeed())
	g.Expect(echoes.IsEcho(web, "9")).To(BeFalse(), "the write was refused")
	g.Expect(echoes.IsEcho(web, "7")).To(BeFalse(), "after a refused write, every event is looked at")
	g.Expect(echoes.IsEcho(web, "")).To(BeFalse())

	for i := range 3 * maxEchoes {
		echoes.begin(drift.Object{Name: fmt.Sprint(i)})("1")
	}
	g.Expect(len(echoes.written)).To(BeNumerically("<=", maxEchoes))
	g.Expect(echoes.writing).To(BeEmpty())
}
