// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// Automatic host endpoints of Calico take the place of managed host endpoints: the operator
// writes no endpoint and contests nothing, and the status tells why the restriction is not
// effective and how to make room.
func TestAutomaticHostEndpointsAreReportedAndLeftAlone(t *testing.T) {
	f := field.StartClusterWith(t, calico.ClusterOptions{ControlPlane: 2, Workers: 1, KubeControllers: true, Felix: calico.FelixOptions{IPv6: true}})
	setAutoCreate(f, "Enabled")
	t.Cleanup(func() { setAutoCreate(f, "Disabled") })
	automatic := withName(&v3.HostEndpoint{}, "cp-1-auto-hep")
	f.Eventually(func() error { return field.Admin.Get(t.Context(), client.ObjectKeyFromObject(automatic), automatic) }, field.Patience, field.Tick).Should(Succeed())
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForCondition(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonForeignHostEndpoint)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionEffective)).To(And(ContainSubstring("cp-1-auto-hep"), ContainSubstring("autoCreate")))
	f.Expect(field.ListInventory(t)).NotTo(ContainElement("HostEndpoint/cpnp-cp-1"))
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom(field.AllClients...)))

	t.Log("automatic host endpoints are switched off: managed endpoints replace these")
	setAutoCreate(f, "Disabled")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionEffective, "True/AsDeclared")
}

// setAutoCreate makes Calico create or delete automatic host endpoints.
func setAutoCreate(f *field.Field, value string) {
	f.T.Helper()
	configuration := &unstructured.Unstructured{}
	configuration.SetAPIVersion(v3.GroupVersionCurrent)
	configuration.SetKind("KubeControllersConfiguration")
	configuration.SetName("default")
	patch := `{"spec":{"controllers":{"node":{"hostEndpoint":{"autoCreate":"` + value + `"}}}}}`
	f.Eventually(func() error {
		return field.Admin.Patch(f.BackgroundContext(), configuration, client.RawPatch(types.MergePatchType, []byte(patch)))
	}, field.Patience, field.Tick).Should(Succeed())
}

// A foreign policy in an earlier tier lets a worker in: packets pass, and the status names
// the policy.
func TestForeignPolicyInAnEarlierTierIsReported(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}
	f.Expect(field.Admin.Create(t.Context(), tier)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, tier) })
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionEffective, "True/AsDeclared")

	allow := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform.allow-monitoring"},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(1.0), Selector: "has(cpnp.dev/policy)", Types: []v3.PolicyType{v3.PolicyTypeIngress},
			Ingress: []v3.Rule{{Action: v3.Allow}},
		},
	}
	f.Expect(field.Admin.Create(t.Context(), allow)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, allow) })
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom(field.AllClients...))
	f.WaitForCondition(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonForeignPolicy)
	f.Expect(field.ConditionMessage(v1alpha1.ConditionEffective)).To(ContainSubstring("platform.allow-monitoring"))

	field.DeleteNow(f, allow)
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionEffective, "True/AsDeclared")
}

// Felix does not filter IPv6 where IPv6 is switched off, and the status reports so.
func TestUnfilteredIPv6IsReported(t *testing.T) {
	f := field.StartClusterWith(t, calico.ClusterOptions{ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{IPv6: false}})
	// The test bed switches IPv6 off in Felix's environment; a cluster would use this
	// configuration.
	configuration := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v3.FelixConfigurationSpec{IPv6Support: ptr.To(false)}}
	f.Expect(field.Admin.Create(t.Context(), configuration)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, configuration) })
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForCondition(v1alpha1.ConditionEffective, "False/"+v1alpha1.ReasonBypassPossible)
	f.Eventually(func() string { return f.ReachabilityOf(field.KubeletPort)["worker-1"] }, field.Patience, field.Tick).Should(Equal("Dropped/Open"))
}
