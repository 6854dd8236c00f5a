// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"net/netip"
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// A tenant with write access to one namespace cannot join an allow-list by labels. A global
// set with the same labels is let in, which proves the labels right; only administrators
// can create global sets.
func TestTenantsCannotJoinAnAllowListFromANamespace(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	members := map[string]string{"cpnp.dev/policy": field.PolicyName, "cpnp.dev/peer": "control-plane"}
	addresses := func(machine string) []string {
		a := f.Cluster.Machine(machine).Cluster
		return []string{netip.PrefixFrom(a.IPv4, 32).String(), netip.PrefixFrom(a.IPv6, 128).String()}
	}
	tenant := &v3.NetworkSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tenant", Labels: members},
		Spec:       v3.NetworkSetSpec{Nets: addresses(calico.Outsider)},
	}
	f.Expect(field.Admin.Create(t.Context(), tenant)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, tenant) })
	global := &v3.GlobalNetworkSet{
		ObjectMeta: metav1.ObjectMeta{Name: "administrators", Labels: members},
		Spec:       v3.GlobalNetworkSetSpec{Nets: addresses("worker-1")},
	}
	f.Expect(field.Admin.Create(t.Context(), global)).To(Succeed())
	t.Cleanup(func() { field.DeleteNow(f, global) })
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "worker-1", "itself", "loopback"))
}
