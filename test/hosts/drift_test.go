// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cpnp-dev/cpnp-operator/test/field"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	bed "github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// watchLatency is within what time something is repaired that a watch tells of: long
// for that, and short for everything that comes by itself.
const watchLatency = 5 * time.Second

// meddling is what somebody does to an object of the operator's.
type meddling struct {
	object client.Object
	// patch is a merge patch; empty deletes the object.
	patch string
	// field is what the status then says was changed.
	field string
}

var meddlings = map[string]meddling{
	"tier edited":              {named(&v3.Tier{}, "cpnp"), `{"spec":{"order":2000000}}`, "spec.order"},
	"set emptied":              {named(&v3.GlobalNetworkSet{}, "cpnp-control-plane-control-plane-0"), `{"spec":{"nets":["192.0.2.1/32"]}}`, "spec.nets"},
	"set deleted":              {named(&v3.GlobalNetworkSet{}, "cpnp-control-plane-control-plane-0"), "", ""},
	"set's label removed":      {named(&v3.GlobalNetworkSet{}, "cpnp-control-plane-control-plane-0"), `{"metadata":{"labels":{"cpnp.dev/peer":null}}}`, "metadata.labels[cpnp.dev/peer]"},
	"allowing policy deleted":  {named(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-allow-etcd"), "", ""},
	"foreign rule added":       {named(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-deny-kubelet"), `{"spec":{"egress":[{"action":"Deny"}]}}`, "spec.egress"},
	"denying policy edited":    {named(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-deny-kubelet"), `{"spec":{"selector":"has(nothing)"}}`, "spec.selector"},
	"denying policy deleted":   {named(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-deny-etcd"), "", ""},
	"label of endpoint gone":   {named(&v3.HostEndpoint{}, "cpnp-cp-1"), `{"metadata":{"labels":{"cpnp.dev/enforced":null}}}`, "metadata.labels[cpnp.dev/enforced]"},
	"addresses of endpoint":    {named(&v3.HostEndpoint{}, "cpnp-cp-1"), `{"spec":{"expectedIPs":["192.0.2.1"]}}`, "spec.expectedIPs"},
	"endpoint deleted":         {named(&v3.HostEndpoint{}, "cpnp-cp-1"), "", ""},
	"failsafes widened":        {named(&v3.FelixConfiguration{}, "node.cp-1"), `{"spec":{"failsafeInboundHostPorts":[{"protocol":"tcp","port":2379}]}}`, "spec.failsafeInboundHostPorts"},
	"felix configuration gone": {named(&v3.FelixConfiguration{}, "node.cp-1"), "", ""},
}

// Whatever somebody does to one of Calico's objects is repaired, and the status
// says what it was and who did it. A deleted object takes with it who did it.
func TestDriftOfEveryKindIsRepairedAndAttributed(t *testing.T) {
	f := field.StartCluster(t, bed.IPTables)
	f.StartOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	for name, m := range meddlings {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if _, isPolicy := m.object.(*v3.GlobalNetworkPolicy); isPolicy {
				m.object.SetName(rules(f, m.object.GetName()))
			}
			key := client.ObjectKeyFromObject(m.object)
			before := m.object.DeepCopyObject().(client.Object)
			g.Expect(field.Admin.Get(t.Context(), key, before)).To(Succeed())
			content, err := calico.WrittenContent(before)
			g.Expect(err).NotTo(HaveOccurred())
			told := field.PolicyNow().Status.LastDriftTime
			nextSecond(f, t)
			if m.patch == "" {
				g.Expect(field.Admin.Delete(t.Context(), m.object.DeepCopyObject().(client.Object))).To(Succeed())
			} else {
				target := m.object.DeepCopyObject().(client.Object)
				g.Expect(field.Admin.Patch(t.Context(), target, client.RawPatch(types.MergePatchType, []byte(m.patch)), client.FieldOwner("mallory"))).To(Succeed())
			}
			g.Eventually(func() any {
				now := m.object.DeepCopyObject().(client.Object)
				if field.Admin.Get(context.Background(), key, now) != nil {
					return nil
				}
				is, err := calico.WrittenContent(now)
				g.Expect(err).NotTo(HaveOccurred())
				return []any{is["spec"], now.GetLabels()}
			}, watchLatency, field.Tick).Should(Equal([]any{content["spec"], before.GetLabels()}))
			g.Eventually(func() *v1alpha1.Drift {
				status := field.PolicyNow().Status
				if told.Equal(status.LastDriftTime) {
					return nil
				}
				return status.LastDrift
			}, field.Patience, field.Tick).Should(And(Not(BeNil()), HaveField("Name", key.Name), HaveField("Field", m.field)))
			// Felix's own view of a removed label, and of a deleted object, is no
			// field's: nobody can be named.
			if last := field.PolicyNow().Status.LastDrift; last.Cause != v1alpha1.CauseMissing {
				g.Expect(last.Manager).To(Equal("mallory"))
			}
		})
	}
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
}

// rules returns the name of a policy with its version.
func rules(f *field.Field, name string) string {
	f.T.Helper()
	var all v3.GlobalNetworkPolicyList
	f.Expect(field.Admin.List(f.T.Context(), &all)).To(Succeed())
	i := slices.IndexFunc(all.Items, func(p v3.GlobalNetworkPolicy) bool { return strings.HasPrefix(p.Name, name+"-") })
	f.Expect(i).To(BeNumerically(">=", 0), name)
	return all.Items[i].Name
}

// nextSecond waits until times in the status differ from those before.
func nextSecond(f *field.Field, t *testing.T) {
	t.Helper()
	now := time.Now().Unix()
	NewWithT(t).Eventually(func() int64 { return time.Now().Unix() }, field.Patience, field.Tick).Should(BeNumerically(">", now))
}
