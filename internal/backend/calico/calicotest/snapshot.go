// SPDX-License-Identifier: Apache-2.0

package calicotest

import (
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Snapshot returns a cluster with one policy, whose rules are on all three nodes of the
// control plane. change changes the policy.
func Snapshot(change func(*v1alpha1.ControlPlaneNetworkPolicy)) state.Snapshot {
	role := "node-role.kubernetes.io/control-plane"
	policy := v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{role: ""}},
			Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico", APIServerPorts: []v1alpha1.PortNumber{6443}},
			Network: &v1alpha1.NetworkSpec{
				Components: []v1alpha1.Component{{Name: "etcd", AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}}}},
			},
		},
	}
	policy.Status.HostPolicies.Declared = ptr.To(int32(9))
	change(&policy)
	snapshot := state.Snapshot{Policies: []v1alpha1.ControlPlaneNetworkPolicy{policy}, Backend: calico.Live{Mode: calico.Native}}
	for i, name := range []string{"cp-1", "cp-2", "cp-3"} {
		snapshot.Nodes = append(snapshot.Nodes, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{role: ""}},
			Status: corev1.NodeStatus{
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0." + string(rune('1'+i))}},
			},
		})
		endpoint := v3.HostEndpoint{
			ObjectMeta: metav1.ObjectMeta{
				Name:          "cpnp-" + name,
				Labels:        map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: "live", calico.LabelEnforced: "true"},
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManagerNetwork, Operation: metav1.ManagedFieldsOperationApply}},
			},
			Spec: v3.HostEndpointSpec{Node: name, InterfaceName: "*"},
		}
		Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = append(c.Endpoints, endpoint) })
	}
	return snapshot
}

// Enactment returns the enactment of a node of the policy in a phase; empty for an enactment
// without a phase.
func Enactment(node, phase, previous string) v1alpha1.ControlPlaneNodeEnactment {
	e := v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{
			Name: "p." + node, Labels: map[string]string{v1alpha1.LabelPolicy: "p"}, OwnerReferences: []metav1.OwnerReference{{UID: "u"}},
		},
		Spec:   v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: node},
		Status: v1alpha1.ControlPlaneNodeEnactmentStatus{Ruleset: "live", PreviousRuleset: previous},
	}
	if phase != "" {
		e.Status.Conditions = []metav1.Condition{{Type: phase, Status: metav1.ConditionTrue, Reason: "x"}}
		rollout.SetVerdict(&e, metav1.Unix(1_700_000_000, 0)) // before the clock of every test
	}
	return e
}
