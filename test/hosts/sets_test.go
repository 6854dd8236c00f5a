// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"net/netip"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// An address that someone adds to a managed allow-list is let in until the operator has
// removed the address: at once, or as soon as the operator may write again. Declared peers
// are let in all the time.
func TestAddressAddedToASetIsRemoved(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	stop := f.StartOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	members := field.OnlyFrom("cp-2", "itself", "loopback")
	protected := func() {
		t.Helper()
		f.WaitForReachability(field.EtcdPort, members)
		f.WaitForReachability(field.KubeletPort, members)
		f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	}
	protected()
	watchman := f.WatchRequiredFlows()
	before := netsOf(f)
	suspend := func(is bool) { f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Suspend = is }) }
	for _, while := range []struct {
		name       string
		open, shut func()
	}{
		{"the operator is down", func() { stop() }, func() { stop = f.StartOperator(); t.Cleanup(f.RemovePolicy) }},
		{"the policy is suspended", func() { suspend(true); f.WaitForCondition(v1alpha1.ConditionReady, "True/"+v1alpha1.ReasonSuspended) }, func() { suspend(false) }},
	} {
		for _, declares := range []bool{false, true} {
			t.Logf("while %s, an address is added by hand; declared: %t", while.name, declares)
			while.open()
			addToSet(f, f.Cluster.Machine(calico.Outsider).Cluster.IPv4, f.Cluster.Machine(calico.Outsider).Cluster.IPv6, declares)
			f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", calico.Outsider, "itself", "loopback"))
			f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", calico.Outsider, "itself", "loopback"))
			while.shut()
			protected()
			f.Expect(netsOf(f)).To(ConsistOf(before))
		}
	}
	for _, declares := range []bool{false, true} {
		t.Logf("while the operator works, an address is added by hand; declared: %t", declares)
		told := field.PolicyNow().Status.LastDriftTime
		nextSecond(f, t)
		addToSet(f, f.Cluster.Machine(calico.Outsider).Cluster.IPv4, f.Cluster.Machine(calico.Outsider).Cluster.IPv6, declares)
		f.Eventually(func() []string { return netsOf(f) }, watchLatency, field.Tick).Should(ConsistOf(before))
		protected()
		f.Eventually(func() *v1alpha1.Drift {
			if status := field.PolicyNow().Status; !told.Equal(status.LastDriftTime) {
				return status.LastDrift
			}
			return nil
		}, field.Patience, field.Tick).Should(And(Not(BeNil()), HaveField("Name", membersSet), HaveField("Field", "spec.nets"), HaveField("Manager", "mallory")))
	}
	f.Expect(watchman.StopWatching()).To(BeEmpty())
}

// membersSet is the managed set of the addresses of control-plane nodes.
var membersSet = render.SetName(field.PolicyName, "control-plane-0")

func netsOf(f *field.Field) []string {
	f.T.Helper()
	set := &v3.GlobalNetworkSet{}
	f.Expect(field.Admin.Get(f.T.Context(), client.ObjectKey{Name: membersSet}, set)).To(Succeed())
	return set.Spec.Nets
}

// addToSet adds addresses to the set, as kubectl edit does, or declares the set with these
// addresses.
func addToSet(f *field.Field, ipv4, ipv6 netip.Addr, declares bool) {
	f.T.Helper()
	f.Eventually(func() error {
		set := &v3.GlobalNetworkSet{}
		if err := field.Admin.Get(f.T.Context(), client.ObjectKey{Name: membersSet}, set); err != nil {
			return err
		}
		nets := append(slices.Clone(set.Spec.Nets), netip.PrefixFrom(ipv4, 32).String(), netip.PrefixFrom(ipv6, 128).String())
		if !declares {
			set.Spec.Nets = nets
			return field.Admin.Update(f.T.Context(), set, client.FieldOwner("mallory"))
		}
		declared := &unstructured.Unstructured{}
		declared.SetAPIVersion(v3.GroupVersionCurrent)
		declared.SetKind(v3.KindGlobalNetworkSet)
		declared.SetName(membersSet)
		f.Expect(unstructured.SetNestedStringSlice(declared.Object, nets, "spec", "nets")).To(Succeed())
		return field.Admin.Apply(f.T.Context(), client.ApplyConfigurationFromUnstructured(declared), client.FieldOwner("mallory"), client.ForceOwnership)
	}, field.Patience, field.Tick).Should(Succeed())
}
