// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"context"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// metadata is the usual address of the metadata service of clouds.
var metadata = netip.MustParseAddrPort("169.254.169.254:80")

// giveMetadata makes the outsider answer as the metadata service for the control-plane
// nodes, within the network namespaces of the test.
func giveMetadata(f *field.Field) {
	f.T.Helper()
	outside := f.Cluster.Machine(calico.Outsider)
	_, err := outside.Output(f.T.Context(), "ip", "address", "add", metadata.Addr().String()+"/32", "dev", "eth0")
	f.Expect(err).NotTo(HaveOccurred())
	_, err = outside.Listen(network.TCP, metadata.Port())
	f.Expect(err).NotTo(HaveOccurred())
	for _, node := range []string{"cp-1", "cp-2"} {
		_, err := f.Cluster.Machine(node).Output(f.T.Context(), "ip", "route", "add", metadata.Addr().String(), "via", outside.Cluster.IPv4.String())
		f.Expect(err).NotTo(HaveOccurred())
	}
}

// fromNode returns the verdict on a new connection from cp-1 to the metadata service.
func fromNode(f *field.Field) func() network.Verdict {
	return func() network.Verdict {
		verdict, err := f.Cluster.Machine("cp-1").Dial(network.TCP, metadata, network.Within(field.AlmostARetry))
		f.Expect(err).NotTo(HaveOccurred())
		return verdict
	}
}

// denyMetadata creates a foreign policy that is meant for pods, but selects everything. A
// host is affected only once the host has a host endpoint.
func denyMetadata(f *field.Field) {
	f.T.Helper()
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(2000.0), DefaultAction: ptr.To(v3.Pass)}}
	policy := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform.deny-metadata"},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(10.0), Selector: "all()", Types: []v3.PolicyType{v3.PolicyTypeEgress},
			Egress: []v3.Rule{
				{Action: v3.Deny, Destination: v3.EntityRule{Nets: []string{metadata.Addr().String() + "/32"}}},
				{Action: v3.Allow},
			},
		},
	}
	for _, object := range []client.Object{tier, policy} {
		f.Expect(client.IgnoreAlreadyExists(field.Admin.Create(f.T.Context(), object))).To(Succeed())
		f.T.Cleanup(func() { field.DeleteNow(f, object) })
	}
}

// The verdict tells, before any write, which foreign policies a new host endpoint exposes
// the node to. Packets confirm the verdict.
func TestDenialsByForeignPoliciesAreForeseen(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	giveMetadata(f)
	denyMetadata(f)
	f.StartOperator()
	f.Expect(fromNode(f)()).To(Equal(network.Open), "no host endpoint exists yet")
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly, func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Mode = v1alpha1.ModeAudit }))
	f.WaitForCondition(v1alpha1.ConditionVerified, "True/Verified")
	foreseen := And(ContainSubstring("metadata-out would be denied by rule 1 of GlobalNetworkPolicy platform.deny-metadata"),
		ContainSubstring("169.254.169.254"), ContainSubstring("!has(cpnp.dev/policy)"))
	// The first report may be older than the first reading of Calico.
	f.Eventually(func() string { return field.ConditionMessage(v1alpha1.ConditionVerified) }, field.Patience, field.Tick).Should(foreseen)
	f.Expect(fromNode(f)()).To(Equal(network.Open), "nothing was written")

	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Mode = v1alpha1.ModeEnforce })
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Eventually(fromNode(f), field.Patience, field.Tick).Should(Equal(network.Dropped))
	f.WaitForCondition(v1alpha1.ConditionVerified, "True/Verified")
	f.Eventually(func() string { return field.ConditionMessage(v1alpha1.ConditionVerified) }, field.Patience, field.Tick).
		Should(foreseen, "the status reports the denial as long as the policy denies")

	t.Log("the selector is changed to leave out hosts")
	policy := &v3.GlobalNetworkPolicy{}
	key := client.ObjectKey{Name: "platform.deny-metadata"}
	f.Expect(field.Admin.Get(context.Background(), key, policy)).To(Succeed())
	policy.Spec.Selector = "!has(cpnp.dev/policy)"
	f.Expect(field.Admin.Update(t.Context(), policy)).To(Succeed())
	f.Eventually(fromNode(f), field.Patience, field.Tick).Should(Equal(network.Open))
	f.Eventually(func() string { return field.ConditionMessage(v1alpha1.ConditionVerified) }, field.Patience, field.Tick).
		ShouldNot(ContainSubstring("metadata-out"))
}

// The node's own observer reached the metadata service in the baseline, and not with the
// rules. So the node is rolled back.
func TestLossOfATargetOutsideRollsTheNodeBack(t *testing.T) {
	f := field.StartCluster(t, calico.NFTables)
	giveMetadata(f)
	denyMetadata(f)
	f.StartObservers("cp-1", "cp-2")
	f.StartOperator()
	touched := f.RecordTouchedNodes()
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	f.WaitForPhases("Reverted/ProbeFailed", "Aborted/RolloutFailed", "Aborted/RolloutFailed")
	f.Expect(field.PhaseMessage("cp-1")).To(ContainSubstring("169.254.169.254:80 from cp-1: Open before, Dropped now"))
	f.Eventually(fromNode(f), field.Patience, field.Tick).Should(Equal(network.Open))
	f.Expect(touched()).To(Equal("cp-1"))
}
