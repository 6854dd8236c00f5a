// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	served "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/follow"
)

// littleMemory leaves 768 KiB for network sets.
const littleMemory = 16 << 20

func networkSet(name string, nets int, labels map[string]string) *v3.GlobalNetworkSet {
	set := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	for i := range nets {
		set.Spec.Nets = append(set.Spec.Nets, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	return set
}

// reportsTooLarge: where foreign objects do not fit, the problem names their kind, and the
// operator's own objects are still read, listed and watched. Once the foreign objects are
// deleted, all objects are read again.
func reportsTooLarge(t *testing.T, mode served.Mode) {
	t.Helper()
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(deadline)
	g.SetDefaultEventuallyPollingInterval(interval)
	flood := map[string]string{"flood": "yes"}
	label := func(policy string) map[string]string { return map[string]string{v1alpha1.LabelPolicy: policy} }
	remove := func() {
		g.Expect(admin.DeleteAllOf(context.Background(), &v3.GlobalNetworkSet{}, client.MatchingLabels(flood))).To(Succeed())
	}
	t.Cleanup(remove)
	f := followWith(t, follow.Options{Memory: littleMemory})
	f.waitForMode(mode)
	own := networkSet("cpnp-p-nodes-0", 1, label("p"))
	g.Expect(admin.Create(t.Context(), own)).To(Succeed())
	for i := range 20 {
		g.Expect(admin.Create(t.Context(), networkSet(fmt.Sprint("flood-", i), 2000, flood))).To(Succeed())
	}
	sets := func() []string { return namesOf(f.Read().Sets) }
	g.Eventually(func() string { return f.Read().TooLarge }).Should(And(ContainSubstring("GlobalNetworkSet"), ContainSubstring("768 KiB")))
	g.Eventually(sets).Should(Equal([]string{"cpnp-p-nodes-0"}))
	f.waitForMode(mode)

	other := networkSet("cpnp-q-nodes-0", 1, label("q"))
	g.Expect(admin.Create(t.Context(), other)).To(Succeed())
	g.Eventually(sets).Should(Equal([]string{"cpnp-p-nodes-0", "cpnp-q-nodes-0"}), "they are watched")
	there, err := f.ReadNow(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(there.TooLarge).To(ContainSubstring("GlobalNetworkSet"))
	g.Expect(namesOf(there.Sets)).To(Equal(sets()))
	g.Expect(namesOf(there.Tiers)).To(Equal(namesOf(f.Read().Tiers)), "objects of other kinds are missing")

	again := followWith(t, follow.Options{Memory: littleMemory})
	again.waitForMode(mode)
	g.Eventually(func() string { return f.Read().TooLarge }).Should(Equal(again.Read().TooLarge),
		"another start tells the same as the one that has measured again")
	g.Expect(namesOf(again.Read().Sets)).To(Equal(sets()))

	remove()
	g.Eventually(func() string { return f.Read().TooLarge }).Should(BeEmpty())
	g.Expect(admin.Create(t.Context(), networkSet("theirs", 1, flood))).To(Succeed())
	g.Eventually(sets).Should(ContainElements("cpnp-p-nodes-0", "cpnp-q-nodes-0", "theirs"))
	g.Expect(admin.Delete(t.Context(), own)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), other)).To(Succeed())
	g.Eventually(sets).Should(And(ContainElement("theirs"), Not(ContainElements("cpnp-p-nodes-0")), Not(ContainElements("cpnp-q-nodes-0"))))
}
