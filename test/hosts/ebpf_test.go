// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// While Calico's configuration says eBPF, rules cannot be judged: the status tells so once,
// and nothing is written. Once the configuration says otherwise, writing goes on. Rules
// from before stay. (The Felix of the test bed uses iptables all the time, because of its
// environment.)
func TestNothingIsWrittenWhereCalicoUsesEBPF(t *testing.T) {
	f := field.StartClusterWith(t, calico.ClusterOptions{ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{
		IPv6: true, Env: []string{"FELIX_BPFENABLED=false"},
	}})
	felix := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v3.FelixConfigurationSpec{BPFEnabled: ptr.To(true)}}
	f.Expect(field.Admin.Create(t.Context(), felix)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, felix) })
	turn := func(on bool) {
		f.Eventually(func() error {
			if err := field.Admin.Get(t.Context(), client.ObjectKeyFromObject(felix), felix); err != nil {
				return err
			}
			felix.Spec.BPFEnabled = &on
			return field.Admin.Update(t.Context(), felix)
		}, field.Patience, field.Tick).Should(Succeed())
	}
	before := field.ListInventory(t)
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForCondition(v1alpha1.ConditionVerified, "False/NotJudged")
	f.WaitForCondition(v1alpha1.ConditionEffective, "Unknown/NotJudged")
	f.WaitForCondition(v1alpha1.ConditionReady, "False/NotJudged")
	f.Expect(field.ConditionMessage(v1alpha1.ConditionVerified)).To(And(ContainSubstring("eBPF"), ContainSubstring("FelixConfiguration default"),
		ContainSubstring("cp-1"), Not(ContainSubstring("cut"))))
	f.Expect(field.ListInventory(t)).To(Equal(before), "nothing was written")
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(field.OnlyFrom(field.AllClients...)))

	t.Log("Calico uses another dataplane: writing goes on")
	turn(false)
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.WaitForCondition(v1alpha1.ConditionEffective, "True/AsDeclared")

	t.Log("Calico uses eBPF again: the written rules stay, and the status promises nothing")
	turn(true)
	f.WaitForCondition(v1alpha1.ConditionVerified, "False/NotJudged")
	f.WaitForCondition(v1alpha1.ConditionEffective, "Unknown/NotJudged")
	f.Expect(field.ListInventory(t)).To(ContainElement("HostEndpoint/cpnp-cp-1"))

	t.Log("the verdict is overridden: the rules are written, and the status tells the truth")
	f.AnnotatePolicy(v1alpha1.AnnotationAllowLockout, ptr.To("tried by hand"))
	f.WaitForCondition(v1alpha1.ConditionVerified, "True/Overridden")
	f.Expect(field.ConditionMessage(v1alpha1.ConditionVerified)).To(And(ContainSubstring("tried by hand"), ContainSubstring("eBPF"),
		Not(ContainSubstring("not needed"))))
	f.WaitForCondition(v1alpha1.ConditionEffective, "Unknown/NotJudged")
	f.WaitForCondition(v1alpha1.ConditionReady, "Unknown/NotJudged")
}
