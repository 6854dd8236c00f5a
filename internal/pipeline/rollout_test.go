// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

func TestLiveVersionOfSeveralInterfaces(t *testing.T) {
	endpoint := func(version, enforced string) v3.HostEndpoint {
		return v3.HostEndpoint{
			ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: version, calico.LabelEnforced: enforced}},
			Spec:       v3.HostEndpointSpec{Node: "cp-1"},
		}
	}
	copied := endpoint("old", "true")
	copied.Name = "theirs"
	for name, test := range map[string]struct {
		there []v3.HostEndpoint
		want  string
	}{
		"none":         {nil, ""},
		"one":          {[]v3.HostEndpoint{endpoint("new", "true")}, "new"},
		"both":         {[]v3.HostEndpoint{endpoint("new", "true"), endpoint("old", "true")}, "old"},
		"both, turned": {[]v3.HostEndpoint{endpoint("old", "true"), endpoint("new", "true")}, "old"},
		"a copy":       {[]v3.HostEndpoint{copied, endpoint("new", "true")}, "new"},
		"one is open":  {[]v3.HostEndpoint{endpoint("old", ""), endpoint("new", "true")}, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(plan.LiveVersion("p", "cp-1", "new", calico.Live{Endpoints: test.there}.HostEndpoints())).To(Equal(test.want))
		})
	}
}

func TestFailsafePortsOfAnotherManagerAreContested(t *testing.T) {
	g := NewWithT(t)
	felix := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"}}
	diff := func(state v1alpha1.DriftState) drift.Diff {
		return drift.Diff{Writes: []drift.Write{{Desired: felix, Node: "cp-1", Stage: backend.StageScopedFailsafes, Findings: []drift.Finding{{State: state}}}}}
	}
	g.Expect(failsafesContested(diff(v1alpha1.StateConflicted), "cp-1")).To(BeTrue())
	g.Expect(failsafesContested(diff(v1alpha1.StateConflicted), "cp-2")).To(BeFalse())
	g.Expect(failsafesContested(diff(v1alpha1.StateDrifted), "cp-1")).To(BeFalse())
}

// The enactment of a failed node outlives the node while the failure stops the rollout.
func TestFailureOutlivesItsNode(t *testing.T) {
	g := NewWithT(t)
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 3}}}
	enactment := func(node, phase string, generation int64) v1alpha1.ControlPlaneNodeEnactment {
		return v1alpha1.ControlPlaneNodeEnactment{
			Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: node},
			Status: v1alpha1.ControlPlaneNodeEnactmentStatus{PolicyGeneration: generation, Conditions: []metav1.Condition{
				{Type: phase, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonNodeNotReady},
			}},
		}
	}
	there := []v1alpha1.ControlPlaneNodeEnactment{
		enactment("cp-1", v1alpha1.PhaseReverted, 3), enactment("cp-2", v1alpha1.PhaseReverted, 2),
		enactment("cp-3", v1alpha1.PhaseEnforced, 3), enactment("cp-4", v1alpha1.PhasePending, 3),
	}
	gone, failed := goneNodes(policy, []backend.Node{{Name: "cp-4"}}, there)
	g.Expect(failed).To(Equal("cp-1"))
	g.Expect(gone).To(ConsistOf(&there[1], &there[2]))
}

// Only members of etcd count for its quorum, if the distribution marks them. All nodes of the
// control plane must be ready.
func TestEtcdSizeCountsMembersOfEtcd(t *testing.T) {
	g := NewWithT(t)
	node := func(name, role string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{role: ""}}}
	}
	nodes := []*corev1.Node{
		node("cp-1", "node-role.kubernetes.io/control-plane"), node("cp-2", "node-role.kubernetes.io/control-plane"),
		node("etcd-1", "node-role.kubernetes.io/etcd"), node("worker-1", "worker"),
	}
	others, members := controlPlane([]backend.Node{{Name: "cp-1"}, {Name: "worker-1"}}, nodes)
	g.Expect(members).To(Equal(1))
	_, members = controlPlane(nil, nodes[:2])
	g.Expect(members).To(Equal(2), "no node is marked as a member of etcd")
	_, members = controlPlane(nil, nodes[3:])
	g.Expect(members).To(BeZero())
	g.Expect(others).To(HaveLen(2))
	g.Expect(others[0].Name).To(Equal("cp-2"))
	g.Expect(others[0].Ready).To(BeFalse(), "it does not say so")
}
