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

// watchLatency is the time limit for a repair after a watch event: a long time for such a
// repair, and too short for any resync.
const watchLatency = 5 * time.Second

// meddling is a change by someone else of a managed object.
type meddling struct {
	object client.Object
	// patch is a merge patch; empty deletes the object.
	patch string
	// field is the name of the changed field in the status.
	field string
}

var meddlings = map[string]meddling{
	"tier edited":              {withName(&v3.Tier{}, "cpnp"), `{"spec":{"order":2000000}}`, "spec.order"},
	"set emptied":              {withName(&v3.GlobalNetworkSet{}, "cpnp-control-plane-control-plane-0"), `{"spec":{"nets":["192.0.2.1/32"]}}`, "spec.nets"},
	"set deleted":              {withName(&v3.GlobalNetworkSet{}, "cpnp-control-plane-control-plane-0"), "", ""},
	"set's label removed":      {withName(&v3.GlobalNetworkSet{}, "cpnp-control-plane-control-plane-0"), `{"metadata":{"labels":{"cpnp.dev/peer":null}}}`, "metadata.labels[cpnp.dev/peer]"},
	"allowing policy deleted":  {withName(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-allow-etcd"), "", ""},
	"foreign rule added":       {withName(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-deny-kubelet"), `{"spec":{"egress":[{"action":"Deny"}]}}`, "spec.egress"},
	"denying policy edited":    {withName(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-deny-kubelet"), `{"spec":{"selector":"has(nothing)"}}`, "spec.selector"},
	"denying policy deleted":   {withName(&v3.GlobalNetworkPolicy{}, "cpnp.control-plane-deny-etcd"), "", ""},
	"label of endpoint gone":   {withName(&v3.HostEndpoint{}, "cpnp-cp-1"), `{"metadata":{"labels":{"cpnp.dev/enforced":null}}}`, "metadata.labels[cpnp.dev/enforced]"},
	"addresses of endpoint":    {withName(&v3.HostEndpoint{}, "cpnp-cp-1"), `{"spec":{"expectedIPs":["192.0.2.1"]}}`, "spec.expectedIPs"},
	"endpoint deleted":         {withName(&v3.HostEndpoint{}, "cpnp-cp-1"), "", ""},
	"failsafes widened":        {withName(&v3.FelixConfiguration{}, "node.cp-1"), `{"spec":{"failsafeInboundHostPorts":[{"protocol":"tcp","port":2379}]}}`, "spec.failsafeInboundHostPorts"},
	"felix configuration gone": {withName(&v3.FelixConfiguration{}, "node.cp-1"), "", ""},
}

// Any change of a managed Calico object is repaired, and the status names the changed field
// and the manager. The manager of a deleted object is lost with the object.
func TestDriftOfEveryKindIsRepairedAndAttributed(t *testing.T) {
	f := field.StartCluster(t, bed.IPTables)
	f.StartQuickOperator()
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	for name, m := range meddlings {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if _, isPolicy := m.object.(*v3.GlobalNetworkPolicy); isPolicy {
				m.object.SetName(nameOfRules(f, m.object.GetName()))
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
			// Neither Felix's own view of a removed label nor a deleted object has a field
			// with a manager, so the status names no manager.
			if last := field.PolicyNow().Status.LastDrift; last.Cause != v1alpha1.CauseMissing {
				g.Expect(last.Manager).To(Equal("mallory"))
			}
		})
	}
	f.WaitForReachability(field.EtcdPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "itself", "loopback"))
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
}

// nameOfRules returns the name of a policy with its version.
func nameOfRules(f *field.Field, name string) string {
	f.T.Helper()
	var all v3.GlobalNetworkPolicyList
	f.Expect(field.Admin.List(f.T.Context(), &all)).To(Succeed())
	i := slices.IndexFunc(all.Items, func(p v3.GlobalNetworkPolicy) bool { return strings.HasPrefix(p.Name, name+"-") })
	f.Expect(i).To(BeNumerically(">=", 0), name)
	return all.Items[i].Name
}

// nextSecond waits until new times in the status differ from earlier times.
func nextSecond(f *field.Field, t *testing.T) {
	t.Helper()
	now := time.Now().Unix()
	NewWithT(t).Eventually(func() int64 { return time.Now().Unix() }, field.Patience, field.Tick).Should(BeNumerically(">", now))
}
