// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

func requestFor(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// A few failures are retried soon after the API server has recovered; many
// failures do not flood the API server with retries.
func TestFewFailuresAreRetriedSoon(t *testing.T) {
	g := NewWithT(t)
	l := NewLimiter()
	last := func(name string) (delay time.Duration) {
		for range 20 {
			delay = l.When(requestFor("", name))
		}
		return delay
	}
	g.Expect(l.When(requestFor("", "p"))).To(Equal(timing.QueueRetryFirst))
	g.Expect(last("p")).To(Equal(timing.QueueRetryFew))
	for i := range 500 {
		l.When(requestFor("n", fmt.Sprint(i)))
	}
	g.Expect(last("p")).To(Equal(501 * timing.QueueRetryEach))
	for i := range 5000 {
		l.When(requestFor("n", fmt.Sprint(i)))
	}
	g.Expect(last("p")).To(Equal(timing.QueueRetryLast))
	for i := range 5000 {
		l.Forget(requestFor("n", fmt.Sprint(i)))
	}
	g.Expect(last("p")).To(Equal(timing.QueueRetryFew))
	l.Forget(requestFor("", "p"))
	g.Expect(l.When(requestFor("", "p"))).To(Equal(timing.QueueRetryFirst))
}
