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

// TestCalicoIsInstalledAndRemoved: Calico is installed while an operator runs, first
// without Calico's API server, and then removed.
func TestCalicoIsInstalledAndRemoved(t *testing.T) {
	g := NewWithT(t)
	f := startFollower(t, 0)
	f.waitForMode(served.Absent)
	idle := len(followerGoroutines())

	uninstallAfter(t)
	installCRDs(t, calico.Aggregated)
	f.waitForMode(served.V1Only)

	begin := time.Now()
	installed := startCalico(t, calico.Aggregated)
	t.Logf("Calico in %s", time.Since(begin))
	begin = time.Now()
	c := f.waitForMode(served.Aggregated)
	t.Logf("read %s later", time.Since(begin))
	g.Expect(namesOf(c.Tiers)).To(Equal([]string{"adminnetworkpolicy", "baselineadminnetworkpolicy", "default"}))

	followsObjects(t, f)
	t.Run("too large", func(t *testing.T) { reportsTooLarge(t, served.Aggregated) })

	g.Expect(installed.Stop()).To(Succeed())
	c = f.waitForMode(served.V1Only)
	g.Expect(c.Tiers).To(BeEmpty())
	uninstallCalico(t)
	f.waitForMode(served.Absent)
	g.Eventually(followerGoroutines, deadline, interval).Should(HaveLen(idle), "nothing of the reading is left")
}

// TestMigrationToCRDs: Calico's API server is replaced by CRDs with other objects.
func TestMigrationToCRDs(t *testing.T) {
	g := NewWithT(t)
	startCalico(t, calico.Aggregated)
	f := startFollower(t, 0)
	c := f.waitForMode(served.Aggregated)
	g.Expect(c.Tiers).NotTo(BeEmpty())

	installCRDs(t, calico.Native)
	f.waitForMode(served.Aggregated)
	g.Expect(admin.Delete(t.Context(), apiService("v3.projectcalico.org", nil))).To(Succeed())
	c = f.waitForMode(served.Native, "not been initialised yet")
	g.Expect(c.Tiers).To(BeEmpty())
	g.Expect(admin.Create(t.Context(), &v3.ClusterInformation{ObjectMeta: metav1.ObjectMeta{Name: "default"}})).To(Succeed())
	g.Expect(admin.Create(t.Context(), &v3.Tier{
		ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v3.TierSpec{DefaultAction: ptr.To(v3.Deny)},
	})).To(Succeed())
	f.waitForMode(served.Native)
	g.Eventually(func() []string { return namesOf(f.Read().Tiers) }, deadline, interval).Should(Equal([]string{"default"}))
}

// TestMissingTierRightsAreReported: Calico's API server shows policies only to users with
// rights to get tiers, and to read these tiers' policies.
func TestMissingTierRightsAreReported(t *testing.T) {
	startCalico(t, calico.Aggregated)
	grantWithout(t, "tier.globalnetworkpolicies")
	t.Cleanup(func() { grantWithout(t, "") })
	f := startFollower(t, soon)
	f.waitForMode(served.Aggregated, "GlobalNetworkPolicy cannot be read",
		"grant the operator list and watch of globalnetworkpolicies.projectcalico.org, and of tier.globalnetworkpolicies, and get of tiers")
	grantWithout(t, "")
	f.waitForMode(served.Aggregated)
}

// TestOutageKeepsTheLastState: while Calico's API server cannot be reached, the last state
// stays, with a problem. An outage from the start leads to the same problem.
func TestOutageKeepsTheLastState(t *testing.T) {
	g := NewWithT(t)
	startCalico(t, calico.Aggregated)
	f := startFollower(t, soon)
	before := f.waitForMode(served.Aggregated)

	reachCalicoAt(t, "nowhere.invalid")
	c := f.waitForMode(served.Aggregated, "the API of Calico does not answer", "nowhere.invalid", "check that Calico's API server runs")
	g.Expect(c.Tiers).To(Equal(before.Tiers))
	late := startFollower(t, soon)
	c = late.waitForMode(served.Aggregated, "the API of Calico does not answer")
	g.Expect(c.Tiers).To(BeEmpty())

	reachCalicoAt(t, "localhost")
	f.waitForMode(served.Aggregated)
	c = late.waitForMode(served.Aggregated)
	g.Expect(namesOf(c.Tiers)).To(Equal(namesOf(before.Tiers)))
}

// reachCalicoAt sets the host name of Calico's API server.
func reachCalicoAt(t *testing.T, host string) {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "calico-apiserver", Name: "calico-api"}}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"externalName":"`+host+`"}}`))
	NewWithT(t).Expect(admin.Patch(t.Context(), service, patch)).To(Succeed())
}

// followsObjects: managed objects are followed as a whole, except for kubectl's copy, of
// which only the existence is kept.
func followsObjects(t *testing.T, f *following) {
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
	endpoints := func() []string { return namesOf(f.Read().Endpoints) }
	g.Eventually(endpoints, deadline, interval).Should(Equal([]string{"a", "b", "c"}))
	first := f.Read().Endpoints[0]
	g.Expect(first.Annotations).To(Equal(map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "else": "stays"}))
	g.Expect(first.ManagedFields).NotTo(BeEmpty(), "managed fields are missing, which attribute drift")
	g.Expect(first.Spec.InterfaceName).To(Equal("*"))

	before := f.Read().Endpoints
	changed := before[1].DeepCopy()
	changed.Spec.InterfaceName = "eth0"
	g.Expect(admin.Update(t.Context(), changed)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), before[0].DeepCopy())).To(Succeed())
	g.Eventually(endpoints, deadline, interval).Should(Equal([]string{"b", "c"}))
	g.Eventually(func() string { return f.Read().Endpoints[0].Spec.InterfaceName }, deadline, interval).Should(Equal("eth0"))
	g.Expect(namesOf(before)).To(Equal([]string{"a", "b", "c"}), "an earlier reading has changed")
	g.Expect(before[1].Spec.InterfaceName).To(Equal("*"))

	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "cpnp"}}
	g.Expect(admin.Create(t.Context(), tier)).To(Succeed())
	policy := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.policy"}}
	policy.Spec.Tier = "cpnp"
	g.Eventually(func() error { return admin.Create(t.Context(), policy) }, deadline, interval).Should(Succeed())
	g.Eventually(func() []string { return namesOf(f.Read().Policies) }, deadline, interval).Should(ContainElement("cpnp.policy"))
	set := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: "set"}}
	g.Expect(admin.Create(t.Context(), set)).To(Succeed())
	felix := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.a"}}
	g.Expect(admin.Create(t.Context(), felix)).To(Succeed())
	pool := &v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "pool"}, Spec: v3.IPPoolSpec{CIDR: "10.1.0.0/16"}}
	g.Expect(admin.Create(t.Context(), pool)).To(Succeed())
	g.Eventually(func(g Gomega) {
		c := f.Read()
		g.Expect(namesOf(c.Tiers)).To(ContainElement("cpnp"))
		g.Expect(namesOf(c.Sets)).To(Equal([]string{"set"}))
		g.Expect(namesOf(c.Felix)).To(ContainElement("node.a"))
		g.Expect(namesOf(c.Pools)).To(Equal([]string{"pool"}))
		g.Expect(c.Problem).To(BeEmpty())
	}, deadline, interval).Should(Succeed())
}

// TestPoliciesOfNewTiersAreSeen: the policies of a new tier are seen although these are
// created at once after the tier, when a watch may not show such policies.
func TestPoliciesOfNewTiersAreSeen(t *testing.T) {
	g := NewWithT(t)
	startCalico(t, calico.Aggregated)
	f := startFollower(t, 0)
	f.waitForMode(served.Aggregated)
	for i := range 10 {
		tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("tier-%d", i)}}
		g.Expect(admin.Create(t.Context(), tier)).To(Succeed())
		policy := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: tier.Name + ".policy"}, Spec: v3.GlobalNetworkPolicySpec{Tier: tier.Name}}
		g.Expect(admin.Create(t.Context(), policy)).To(Succeed())
		g.Eventually(func() []string { return namesOf(f.Read().Policies) }, deadline, interval).Should(ContainElement(policy.Name))
		g.Expect(admin.Delete(t.Context(), policy)).To(Succeed())
		g.Eventually(func() []string { return namesOf(f.Read().Policies) }, deadline, interval).ShouldNot(ContainElement(policy.Name))
		g.Expect(admin.Delete(t.Context(), tier)).To(Succeed())
	}
}
