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

// Whoever may only write in a namespace does not join an allow-list with the
// right labels. That the labels are the right ones shows in a global set, which
// only administrators can make.
func TestNobodyJoinsAnAllowListFromANamespace(t *testing.T) {
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
