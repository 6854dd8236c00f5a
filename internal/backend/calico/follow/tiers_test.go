// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// TestNewTier: a watch of policies may not show the policies of a tier that was created
// after the watch began. A new tier makes the follower list the policies again.
func TestNewTier(t *testing.T) {
	bubble(t, nil, func(w *world) {
		policies := w.of("globalnetworkpolicies")
		pass(time.Minute)
		w.Expect(policies.lists).To(Equal(1), "the first tiers existed before the watch")

		policies.set(func(r *resource) {
			r.objects = append(r.objects, &v3.GlobalNetworkPolicy{ObjectMeta: meta("new.one", "12")})
		})
		w.of("tiers").watch.Add(&v3.Tier{ObjectMeta: meta("new", "11")})
		pass(timing.CalicoTierLag - time.Millisecond)
		w.Expect(policies.lists).To(Equal(1), "Calico's API server may not know of the new tier yet")
		pass(2 * time.Second)
		w.Expect(policies.lists).To(Equal(2))
		w.Expect(w.Read().Policies).To(ContainElement(HaveField("Name", "new.one")))
		w.Expect(w.Read().Problem).To(BeEmpty())

		policies.watch.Add(&v3.GlobalNetworkPolicy{ObjectMeta: meta("new.two", "13")})
		pass(time.Second)
		w.Expect(w.Read().Policies).To(ContainElement(HaveField("Name", "new.two")), "the policies are watched again")

		w.of("tiers").watch.Modify(&v3.Tier{ObjectMeta: meta("new", "14")})
		w.of("tiers").watch.Delete(&v3.Tier{ObjectMeta: meta("new", "15")})
		pass(time.Minute)
		w.Expect(policies.lists).To(Equal(2), "a changed or deleted tier hides no policies")
		policies.watch.Stop()
		pass(time.Minute)
		policies.watch.Add(&v3.GlobalNetworkPolicy{ObjectMeta: meta("new.three", "16")})
		pass(time.Second)
		w.Expect(w.Read().Policies).To(ContainElement(HaveField("Name", "new.three")), "a watch that ends is replaced")
		w.of("tiers").set(func(r *resource) { r.objects = []runtime.Object{} })
	})
}
