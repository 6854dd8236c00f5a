// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// letIn counts in how many states of the policy's sets the address is in one, and in how
// many it is in none any more.
func (s *story) letIn(address string) (in, lost int) {
	s.t.Helper()
	_, after := s.states.all()
	there := map[string]bool{} // by set
	for _, c := range after {
		if c.resource != "globalnetworksets" || c.object.GetLabels()[v1alpha1.LabelPolicy] != s.name {
			continue
		}
		var set v3.GlobalNetworkSet
		s.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(c.object.Object, &set)).To(Succeed())
		is := !c.gone && slices.Contains(set.Spec.Nets, address)
		if is {
			in++
		} else if there[set.Name] {
			lost++
		}
		there[set.Name] = is
	}
	return in, lost
}

// A node that has joined is not shut out again by an operator that is shown the nodes
// from before that.
func TestRestartWithNodesFromBeforeOneJoined(t *testing.T) {
	const address = "10.77.0.99"
	s := begin(t)
	s.operator()
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components = append(spec.Network.Components, v1alpha1.Component{
			Name: "kubelet", AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}},
		})
	}))
	s.ready()
	s.Expect(s.proxy.Remember(t.Context(), "nodes")).To(Succeed())
	worker := testbed.Node(s.name+"-worker", testbed.InternalIP(address), testbed.NodeReady(corev1.ConditionTrue))
	s.Expect(testbed.CreateNode(t.Context(), admin, worker)).To(Succeed())
	s.Eventually(func() bool {
		var sets v3.GlobalNetworkSetList
		s.Expect(admin.List(t.Context(), &sets)).To(Succeed())
		return slices.ContainsFunc(sets.Items, func(set v3.GlobalNetworkSet) bool { return slices.Contains(set.Spec.Nets, address+"/32") })
	}).Should(BeTrue(), s.tell)
	s.stop()
	s.restart("nodes")
	s.ready()
	in, lost := s.letIn(address + "/32")
	s.Expect(in).To(BeNumerically(">", 0))
	s.Expect(lost).To(BeZero(), "the address was removed, and added again later")
}
