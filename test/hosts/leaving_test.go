// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// What is reachable after the ways in which a policy, or the operator, goes.
func TestWhatIsReachableAfterwards(t *testing.T) {
	f := enter(t, calico.IPTables)
	protected := only("cp-2", "itself", "loopback")
	scoped := func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }
	stop := f.operator()
	f.create(f.policy(scoped))
	f.becomes(etcdPort, protected)

	t.Log("suspended: what is there stays, and what others undo is not repaired")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = true })
	f.reports(v1alpha1.ConditionReady, "False/Suspended")
	f.Expect(f.reaches(etcdPort)).To(Equal(protected))

	t.Log("the operator is gone: the rules stay as they are")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = false })
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	stop()
	f.Expect(f.reaches(etcdPort)).To(Equal(protected))
	f.Expect(f.reaches(kubeletPort)).To(Equal(protected))

	t.Log("with the operator gone, one label taken from every endpoint opens everything; started again, it puts it back")
	for _, node := range []string{"cp-1", "cp-2"} {
		f.Expect(admin.Patch(t.Context(), named(&v3.HostEndpoint{}, "cpnp-"+node),
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"cpnp.dev/enforced":null}}}`)))).To(Succeed())
	}
	f.becomes(etcdPort, only(everybody...))
	f.becomes(kubeletPort, only(everybody...))
	stop = f.operator()
	f.becomes(etcdPort, protected)
	stop()

	t.Log("deleted with Orphan: everything stays")
	f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.DeletionPolicy = v1alpha1.DeletionOrphan })
	f.operator()
	f.remove()
	f.Expect(f.reaches(etcdPort)).To(Equal(protected))

	t.Log("declared again: what was left behind is taken over, and with Revert taken back")
	f.create(f.policy(scoped))
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.remove()
	f.becomes(etcdPort, only(everybody...))
	f.becomes(kubeletPort, only(everybody...))
}

// After a policy has been deleted nothing of it is left but what was there
// before.
func TestNothingIsLeftBehind(t *testing.T) {
	f := enter(t, calico.IPTables)
	before := inventory(t)
	f.operator()
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Expect(inventory(t)).NotTo(Equal(before))
	f.remove()
	f.Expect(inventory(t)).To(Equal(before))
}
