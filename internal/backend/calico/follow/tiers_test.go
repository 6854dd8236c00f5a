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

// TestNewTier: a watch of policies may not show those of a tier that was not there
// when it began. They are listed anew when there is one.
func TestNewTier(t *testing.T) {
	bubble(t, nil, func(w *world) {
		policies := w.of("globalnetworkpolicies")
		pass(time.Minute)
		w.Expect(policies.lists).To(Equal(1), "the first tiers were there before")

		policies.set(func(r *resource) {
			r.objects = append(r.objects, &v3.GlobalNetworkPolicy{ObjectMeta: meta("new.one", "12")})
		})
		w.of("tiers").watch.Add(&v3.Tier{ObjectMeta: meta("new", "11")})
		pass(timing.CalicoTierLag - time.Millisecond)
		w.Expect(policies.lists).To(Equal(1), "Calico's API server may not know of it yet")
		pass(2 * time.Second)
		w.Expect(policies.lists).To(Equal(2))
		w.Expect(w.Read().Policies).To(ContainElement(HaveField("Name", "new.one")))
		w.Expect(w.Read().Problem).To(BeEmpty())

		policies.watch.Add(&v3.GlobalNetworkPolicy{ObjectMeta: meta("new.two", "13")})
		pass(time.Second)
		w.Expect(w.Read().Policies).To(ContainElement(HaveField("Name", "new.two")), "it is watched again")

		w.of("tiers").watch.Modify(&v3.Tier{ObjectMeta: meta("new", "14")})
		w.of("tiers").watch.Delete(&v3.Tier{ObjectMeta: meta("new", "15")})
		pass(time.Minute)
		w.Expect(policies.lists).To(Equal(2), "one that changes or goes hides nothing")
		policies.watch.Stop()
		pass(time.Minute)
		policies.watch.Add(&v3.GlobalNetworkPolicy{ObjectMeta: meta("new.three", "16")})
		pass(time.Second)
		w.Expect(w.Read().Policies).To(ContainElement(HaveField("Name", "new.three")), "a watch that ends goes on")
		w.of("tiers").set(func(r *resource) { r.objects = []runtime.Object{} })
	})
}
