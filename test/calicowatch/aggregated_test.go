// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	served "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// TestComesAndGoes: Calico is installed on a running operator, first without
// its API server, and is removed again.
func TestComesAndGoes(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, 0)
	f.eventually(served.Absent)
	idle := len(goroutines())

	uninstallAfter(t)
	install(t, calico.Aggregated)
	f.eventually(served.V1Only)

	begin := time.Now()
	installed := start(t, calico.Aggregated)
	t.Logf("Calico in %s", time.Since(begin))
	begin = time.Now()
	c := f.eventually(served.Aggregated)
	t.Logf("read %s later", time.Since(begin))
	g.Expect(names(c.Tiers)).To(Equal([]string{"adminnetworkpolicy", "baselineadminnetworkpolicy", "default"}))

	objects(t, f)
	t.Run("too large", func(t *testing.T) { tooLarge(t, served.Aggregated) })

	g.Expect(installed.Stop()).To(Succeed())
	c = f.eventually(served.V1Only)
	g.Expect(c.Tiers).To(BeEmpty())
	uninstall(t)
	f.eventually(served.Absent)
	g.Eventually(goroutines, deadline, interval).Should(HaveLen(idle), "nothing of the reading is left")
}

// TestMigrated: Calico's API server gives way to CRDs, whose objects are others.
func TestMigrated(t *testing.T) {
	g := NewWithT(t)
	start(t, calico.Aggregated)
	f := startFollower(t, 0)
	c := f.eventually(served.Aggregated)
	g.Expect(c.Tiers).NotTo(BeEmpty())

	install(t, calico.Native)
	f.eventually(served.Aggregated)
	g.Expect(admin.Delete(t.Context(), apiService("v3.projectcalico.org", nil))).To(Succeed())
	c = f.eventually(served.Native, "not been initialised yet")
	g.Expect(c.Tiers).To(BeEmpty())
	g.Expect(admin.Create(t.Context(), &v3.ClusterInformation{ObjectMeta: metav1.ObjectMeta{Name: "default"}})).To(Succeed())
	g.Expect(admin.Create(t.Context(), &v3.Tier{
		ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v3.TierSpec{DefaultAction: ptr.To(v3.Deny)},
	})).To(Succeed())
	f.eventually(served.Native)
	g.Eventually(func() []string { return names(f.Read().Tiers) }, deadline, interval).Should(Equal([]string{"default"}))
}

// TestTierRights: Calico's API server lets list policies only who may get
// tiers, and read the policies of them.
func TestTierRights(t *testing.T) {
	start(t, calico.Aggregated)
	grantBut(t, "tier.globalnetworkpolicies")
	t.Cleanup(func() { grantBut(t, "") })
	f := startFollower(t, soon)
	f.eventually(served.Aggregated, "GlobalNetworkPolicy cannot be read",
		"grant the operator list and watch of globalnetworkpolicies.projectcalico.org, and of tier.globalnetworkpolicies, and get of tiers")
	grantBut(t, "")
	f.eventually(served.Aggregated)
}

// TestOutage: while Calico's API server can not be reached, what there was last
// stays, with a problem. One that was so from the start is no different.
func TestOutage(t *testing.T) {
	g := NewWithT(t)
	start(t, calico.Aggregated)
	f := startFollower(t, soon)
	before := f.eventually(served.Aggregated)

	reach(t, "nowhere.invalid")
	c := f.eventually(served.Aggregated, "the API of Calico does not answer", "nowhere.invalid", "check that Calico's API server runs")
	g.Expect(c.Tiers).To(Equal(before.Tiers))
	late := startFollower(t, soon)
	c = late.eventually(served.Aggregated, "the API of Calico does not answer")
	g.Expect(c.Tiers).To(BeEmpty())

	reach(t, "localhost")
	f.eventually(served.Aggregated)
	c = late.eventually(served.Aggregated)
	g.Expect(names(c.Tiers)).To(Equal(names(before.Tiers)))
}

// reach sets where Calico's API server is to be found.
func reach(t *testing.T, host string) {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "calico-apiserver", Name: "calico-api"}}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"externalName":"`+host+`"}}`))
	NewWithT(t).Expect(admin.Patch(t.Context(), service, patch)).To(Succeed())
}

// objects: what the operator may have written is heard of, whole but for kubectl's copy, of
// which it is kept that there is one.
func objects(t *testing.T, f *following) {
	t.Helper()
	g := NewWithT(t)
	for _, name := range []string{"b", "a", "c"} {
		ours := map[string]string{v1alpha1.LabelPolicy: "p"}
		endpoint := &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: ours, Annotations: map[string]string{
			corev1.LastAppliedConfigAnnotation: `{"spec":{"node":"node","interfaceName":"*"}}`, "else": "stays",
		}}}
		endpoint.Spec.Node, endpoint.Spec.InterfaceName = "node", "*"
		g.Expect(admin.Create(t.Context(), endpoint)).To(Succeed())
	}
	endpoints := func() []string { return names(f.Read().Endpoints) }
	g.Eventually(endpoints, deadline, interval).Should(Equal([]string{"a", "b", "c"}))
	first := f.Read().Endpoints[0]
	g.Expect(first.Annotations).To(Equal(map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "else": "stays"}))
	g.Expect(first.ManagedFields).NotTo(BeEmpty(), "drift is attributed by them")
	g.Expect(first.Spec.InterfaceName).To(Equal("*"))

	before := f.Read().Endpoints
	changed := before[1].DeepCopy()
	changed.Spec.InterfaceName = "eth0"
	g.Expect(admin.Update(t.Context(), changed)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), before[0].DeepCopy())).To(Succeed())
	g.Eventually(endpoints, deadline, interval).Should(Equal([]string{"b", "c"}))
	g.Eventually(func() string { return f.Read().Endpoints[0].Spec.InterfaceName }, deadline, interval).Should(Equal("eth0"))
	g.Expect(names(before)).To(Equal([]string{"a", "b", "c"}), "what was read once stays as it was")
	g.Expect(before[1].Spec.InterfaceName).To(Equal("*"))

	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "cpnp"}}
	g.Expect(admin.Create(t.Context(), tier)).To(Succeed())
	policy := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.policy"}}
	policy.Spec.Tier = "cpnp"
	g.Eventually(func() error { return admin.Create(t.Context(), policy) }, deadline, interval).Should(Succeed())
	g.Eventually(func() []string { return names(f.Read().Policies) }, deadline, interval).Should(ContainElement("cpnp.policy"))
	set := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: "set"}}
	g.Expect(admin.Create(t.Context(), set)).To(Succeed())
	felix := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.a"}}
	g.Expect(admin.Create(t.Context(), felix)).To(Succeed())
	pool := &v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "pool"}, Spec: v3.IPPoolSpec{CIDR: "10.1.0.0/16"}}
	g.Expect(admin.Create(t.Context(), pool)).To(Succeed())
	g.Eventually(func(g Gomega) {
		c := f.Read()
		g.Expect(names(c.Tiers)).To(ContainElement("cpnp"))
		g.Expect(names(c.Sets)).To(Equal([]string{"set"}))
		g.Expect(names(c.Felix)).To(ContainElement("node.a"))
		g.Expect(names(c.Pools)).To(Equal([]string{"pool"}))
		g.Expect(c.Problem).To(BeEmpty())
	}, deadline, interval).Should(Succeed())
}

// TestNewTiers: the policies of a tier are seen although they come at once after it,
// when a watch may not show them.
func TestNewTiers(t *testing.T) {
	g := NewWithT(t)
	start(t, calico.Aggregated)
	f := startFollower(t, 0)
	f.eventually(served.Aggregated)
	for i := range 10 {
		tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("tier-%d", i)}}
		g.Expect(admin.Create(t.Context(), tier)).To(Succeed())
		policy := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: tier.Name + ".policy"}, Spec: v3.GlobalNetworkPolicySpec{Tier: tier.Name}}
		g.Expect(admin.Create(t.Context(), policy)).To(Succeed())
		g.Eventually(func() []string { return names(f.Read().Policies) }, deadline, interval).Should(ContainElement(policy.Name))
		g.Expect(admin.Delete(t.Context(), policy)).To(Succeed())
		g.Eventually(func() []string { return names(f.Read().Policies) }, deadline, interval).ShouldNot(ContainElement(policy.Name))
		g.Expect(admin.Delete(t.Context(), tier)).To(Succeed())
	}
}
