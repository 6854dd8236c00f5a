// SPDX-License-Identifier: Apache-2.0

// Package verify decides, before anything is written, whether what was planned
// is safe to write, and whether what was written can have any effect. It is
// pure.
package verify

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Verdict says whether something holds. If it does not, or if that cannot be
// judged, the reason and the message say why.
type Verdict struct {
	Holds bool
	// Unknown says that it cannot be judged whether it holds. Holds is false then,
	// so that nothing relies on it.
	Unknown bool
	Reason  string
	Message string
}

// HoldsOffHosts says whether everything may be written that is not on hosts.
func (v Verdict) HoldsOffHosts() bool { return v.Holds || v.Reason == v1alpha1.ReasonProfileUnknown }

// Policy says whether what a policy calls for may be written. A policy that
// selects no node, or a component whose peers stand for nobody, blocks every
// write of the policy: what was written before stays. Where it is not known what
// kind of cluster it is, and nothing else is wrong, only hosts wait
// (HoldsOffHosts): somebody who can make the signs contradict each other must not
// stop the repairs of the rest.
func PolicyWritable(policy *plan.Policy, nodes []corev1.Node, components []plan.Held, notes []string) Verdict {
	if !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return policy.Selects(&n) }) {
		return Verdict{
			Reason:  v1alpha1.ReasonNoMatchingNodes,
			Message: "spec.nodeSelector selects no node: nothing is written, and what was written before stays",
		}
	}
	if len(components) > 0 {
		held := make([]string, 0, len(components))
		for _, h := range components {
			held = append(held, h.String())
		}
		return Verdict{Reason: components[0].Reason, Message: strings.Join(held, "; ")}
	}
	return SafeToWrite(notes)
}

// Safe says that what is declared may be written, and what there is to know.
func SafeToWrite(notes []string) Verdict {
	return Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "What is declared is safe to write"}.WithNotes(notes)
}

// Noting adds to something that holds what there is to know.
func (v Verdict) WithNotes(notes []string) Verdict {
	if v.Holds && len(notes) > 0 {
		v.Message += ". Mind that " + strings.Join(notes, "; ")
	}
	return v
}

// Decided withdraws a verdict as long as there is something that only a person can
// say, and adds what there is to know besides. What is wrong already goes first.
// Whether there is a load balancer may be overridden, with a reason that is not
// blank: then it is written all the same. A way in for administrators may not.
func WithUndecided(verdict Verdict, undecided []plan.Held, override string, notes []string) Verdict {
	if !verdict.Holds || len(undecided) == 0 {
		return verdict
	}
	why := make([]string, 0, len(undecided))
	for _, held := range undecided {
		why = append(why, held.Why)
	}
	open := Verdict{Holds: true, Reason: undecided[0].Reason, Message: strings.Join(why, "; ")}
	if wording.Blank(override) || !AllOverridable(undecided) {
		open = open.WithNotes(notes)
		open.Holds = false
		return open
	}
	open.Reason = v1alpha1.ReasonOverridden
	open.Message = fmt.Sprintf("%s. It is written all the same, because the annotation %s says so (%s)",
		open.Message, v1alpha1.AnnotationAllowLockout, wording.Quoted(override, maxQuotedReason))
	if verdict.Reason == v1alpha1.ReasonOverridden { // this is one more reason
		open.Message = verdict.Message + ". " + open.Message
		return open
	}
	return open.WithNotes(notes)
}

// Overridable says whether all that is undecided may be overridden.
func AllOverridable(undecided []plan.Held) bool {
	return !slices.ContainsFunc(undecided, func(h plan.Held) bool { return h.Reason != v1alpha1.ReasonLoadBalancerUnknown })
}

// HostNetworked finds the pods of components that are in their node's network.
// A NetworkPolicy does not select them, so that the component's restrictions do
// not hold for them.
func PodsEffective(policy *plan.Policy, pods []corev1.Pod) Verdict {
	if policy.Spec.Network == nil || policy.Invalid != nil {
		return Verdict{Holds: true, Reason: v1alpha1.ReasonNotDeclared, Message: "The policy declares no component"}
	}
	var found []string
	for _, component := range policy.Spec.Network.Components {
		if !component.OnHosts() {
			found = append(found, hostNetworkedPods(component, pods)...)
		}
	}
	if len(found) == 0 {
		return Verdict{Holds: true, Reason: v1alpha1.ReasonEffective, Message: "No pod of a component evades its NetworkPolicy"}
	}
	slices.Sort(found)
	return Verdict{
		Reason: v1alpha1.ReasonHostNetworkedPods,
		Message: "Kubernetes NetworkPolicies do not select pods in their node's network, so that nothing restricts " +
			wording.Names(found) + ": run them without hostNetwork, or take them out of the component's selector",
	}
}

// evading returns the pods of a component that are in their node's network.
func hostNetworkedPods(component v1alpha1.Component, pods []corev1.Pod) []string {
	selector, err := component.Pods.Selector.Compile()
	if err != nil {
		return nil // Invalid says so already
	}
	var found []string
	for i := range pods {
		pod := &pods[i]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if pod.Spec.HostNetwork && !ended && pod.Namespace == component.Pods.Namespace && selector.Matches(labels.Set(pod.Labels)) {
			found = append(found, fmt.Sprintf("%s/%s (component %s)", pod.Namespace, pod.Name, component.Name))
		}
	}
	return found
}
