// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

const controlPlane = "node-role.kubernetes.io/control-plane"

func labelled(key string, value v1alpha1.LabelValue) v1alpha1.LabelSelector {
	return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: value}}
}

// policy returns a policy that selects control-plane nodes, with components of
// pods in kube-system with the label app=<component>.
func policy(components ...string) *plan.Policy {
	p := v1alpha1.ControlPlaneNetworkPolicy{Spec: v1alpha1.ControlPlaneNetworkPolicySpec{NodeSelector: labelled(controlPlane, "")}}
	for _, name := range components {
		if p.Spec.Network == nil {
			p.Spec.Network = &v1alpha1.NetworkSpec{}
		}
		p.Spec.Network.Components = append(p.Spec.Network.Components, v1alpha1.Component{
			Name: name, Pods: &v1alpha1.PodSelector{Namespace: "kube-system", Selector: labelled("app", v1alpha1.LabelValue(name))},
		})
	}
	return &plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{p})[0]
}

func invalid(p *plan.Policy) *plan.Policy {
	p.Spec.NodeSelector = labelled("-bad-", "")
	return &plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*p.ControlPlaneNetworkPolicy})[0]
}

func TestPolicyIsVerifiedBeforeTheFirstWrite(t *testing.T) {
	node := func(labels ...string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}}
		for _, label := range labels {
			n.Labels[label] = ""
		}
		return n
	}
	nodes := []*corev1.Node{node("worker"), node(controlPlane)}
	held := []plan.Held{{Component: "a", Reason: v1alpha1.ReasonAddressesUnknown, Why: "allows nobody"}, {Component: "b", Reason: v1alpha1.ReasonAddressesUnknown, Why: "allows nobody either"}}
	noNode := verify.Verdict{
		Reason:  v1alpha1.ReasonNoMatchingNodes,
		Message: "spec.nodeSelector selects no node: nothing is written, and existing objects stay; correct spec.nodeSelector",
	}
	tests := map[string]struct {
		policy  *plan.Policy
		nodes   []*corev1.Node
		network plan.Network
		want    verify.Verdict
	}{
		"A policy that selects a node, without held components, is safe": {
			policy(), nodes, plan.Network{}, verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "The declared objects are safe to write"},
		},
		"A claim lost to another policy is no danger": {
			policy(), nodes, plan.Network{Losses: []plan.Loss{{Policy: "p", Winner: "q", What: "component a"}}},
			verify.Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "The declared objects are safe to write"},
		},
		"A policy that selects none of the nodes is not safe":  {policy(), nodes[:1], plan.Network{}, noNode},
		"A policy in a cluster without nodes is not safe":      {policy(), nil, plan.Network{}, noNode},
		"A policy whose selector is invalid is not safe":       {invalid(policy()), nodes, plan.Network{}, noNode},
		"A missing node takes precedence over held components": {policy(), nil, plan.Network{Held: held}, noNode},
		"A policy with held components is not safe, and each component is named": {
			policy(), nodes, plan.Network{Held: held},
			verify.Verdict{Reason: v1alpha1.ReasonAddressesUnknown, Message: "component a: allows nobody; component b: allows nobody either"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, verify.PolicyWritable(test.policy, test.nodes, test.network.Held, nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// cachedPods returns pods as in the cache.
func cachedPods(t *testing.T, pods []corev1.Pod) []*state.HostPod {
	t.Helper()
	var kept []*state.HostPod
	for i := range pods {
		object, err := state.TransformPod(&pods[i])
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, object.(*state.HostPod))
	}
	return kept
}

func TestHostNetworkedPodsEvadeTheirNetworkPolicy(t *testing.T) {
	pod := func(name string, edits ...func(*corev1.Pod)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name, Labels: map[string]string{"app": "a"}}}
		p.Spec.HostNetwork, p.Status.Phase = true, corev1.PodRunning
		for _, edit := range edits {
			edit(&p)
		}
		return p
	}
	pods := func(pods ...corev1.Pod) []corev1.Pod { return pods }
	phase := func(phase corev1.PodPhase) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.Phase = phase } }
	own := func(p *corev1.Pod) { p.Spec.HostNetwork = false }
	elsewhere := func(p *corev1.Pod) { p.Namespace = "shop" }
	unlike := func(p *corev1.Pod) { p.Labels["app"] = "other" }

	none := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "No pod of a component bypasses its NetworkPolicy"}
	undeclared := verify.Verdict{Holds: true, Reason: v1alpha1.ReasonNotDeclared, Message: "The policy declares no component"}
	evade := func(who string) verify.Verdict {
		return verify.Verdict{Reason: v1alpha1.ReasonBypassPossible, Message: "Kubernetes NetworkPolicies do not select pods " +
			"in their node's network, so that nothing restricts " + who + ": run these pods without hostNetwork, " +
			"or exclude these pods from the component's selector"}
	}
	tests := map[string]struct {
		policy *plan.Policy
		pods   []corev1.Pod
		want   verify.Verdict
	}{
		"A policy without components restricts nothing":      {policy(), pods(pod("x")), undeclared},
		"A policy that is invalid restricts nothing":         {invalid(policy("a")), pods(pod("x")), undeclared},
		"Without pods there is no evasion":                   {policy("a"), nil, none},
		"A host-networked pod of a component evades":         {policy("a"), pods(pod("x")), evade("kube-system/x (component a)")},
		"A host-networked pod that waits to start evades":    {policy("a"), pods(pod("x", phase(corev1.PodPending))), evade("kube-system/x (component a)")},
		"A pod with an address of its own does not evade":    {policy("a"), pods(pod("x", own)), none},
		"A pod that has succeeded does not evade":            {policy("a"), pods(pod("x", phase(corev1.PodSucceeded))), none},
		"A pod that has failed does not evade":               {policy("a"), pods(pod("x", phase(corev1.PodFailed))), none},
		"A pod in another namespace is of another component": {policy("a"), pods(pod("x", elsewhere)), none},
		"A pod with other labels is of another component":    {policy("a"), pods(pod("x", unlike)), none},
		"The pods are named in order": {
			policy("b", "a"), pods(pod("y"), pod("x")), evade("kube-system/x (component a), kube-system/y (component a)"),
		},
		"Three pods are all named": {
			policy("a"), pods(pod("1"), pod("2"), pod("3")),
			evade("kube-system/1 (component a), kube-system/2 (component a), kube-system/3 (component a)"),
		},
		"Of more pods, three are named, and the rest is counted": {
			policy("a"), pods(pod("1"), pod("2"), pod("3"), pod("4"), pod("5")),
			evade("kube-system/1 (component a), kube-system/2 (component a), kube-system/3 (component a) and 2 more"),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, verify.PodsEffective(test.policy, cachedPods(t, test.pods))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
