// SPDX-License-Identifier: Apache-2.0

// Package verify decides before a write whether the planned objects are safe to write,
// and after a write whether the restrictions are effective. The package is pure.
package verify

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Verdict says whether a statement holds. If the statement does not hold, or cannot be
// judged, the reason and the message say why.
type Verdict struct {
	Holds bool
	// Unknown says that the statement cannot be judged. Holds is then false: no caller
	// may rely on the statement.
	Unknown bool
	Reason  string
	Message string
}

// HoldsOffHosts says whether all objects except objects for hosts may be written.
func (v Verdict) HoldsOffHosts() bool { return v.Holds || plan.HoldsHostsOnly(v.Reason) }

// PolicyWritable says whether the objects of a policy may be written. A policy without
// a selected node, or a component with peers without an address, blocks every write of
// the policy: existing objects stay. If the kind of cluster is unknown and all else is
// right, only writes for hosts are blocked (HoldsOffHosts): otherwise, a writer of
// contradicting signs of a distribution could stop all other repairs.
func PolicyWritable(policy *plan.Policy, nodes []*corev1.Node, components []plan.Held, notes []string) Verdict {
	if !slices.ContainsFunc(nodes, func(n *corev1.Node) bool { return policy.SelectsNode(n) }) {
		return Verdict{
			Reason:  v1alpha1.ReasonNoMatchingNodes,
			Message: "spec.nodeSelector selects no node: nothing is written, and existing objects stay; correct spec.nodeSelector",
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

// SafeToWrite is a verdict that the declared objects may be written, with notes for the
// reader.
func SafeToWrite(notes []string) Verdict {
	return Verdict{Holds: true, Reason: v1alpha1.ReasonVerified, Message: "The declared objects are safe to write"}.WithNotes(notes)
}

// WithNotes adds notes for the reader to a verdict that holds, or is unknown.
func (v Verdict) WithNotes(notes []string) Verdict {
	if (v.Holds || v.Unknown) && len(notes) > 0 {
		v.Message += ". Note that " + strings.Join(notes, "; ")
	}
	return v
}

// WithUndecided withdraws a verdict while a question for a person is open, and adds
// notes. A failed verdict is returned unchanged. The question whether there is a load
// balancer may be overridden with a non-blank reason: then the writes are made. The
// question how administrators get in may not be overridden.
func WithUndecided(verdict Verdict, undecided []plan.Held, override string, notes []string) Verdict {
	if !verdict.Holds || len(undecided) == 0 {
		return verdict
	}
	why := make([]string, 0, len(undecided))
	for _, held := range undecided {
		why = append(why, held.Why)
	}
	open := Verdict{Holds: true, Reason: undecided[0].Reason, Message: strings.Join(why, "; ")}
	if wording.IsBlank(override) || !AllOverridable(undecided) {
		open = open.WithNotes(notes)
		open.Holds = false
		return open
	}
	open.Reason = v1alpha1.ReasonOverridden
	open.Message = fmt.Sprintf("%s. Objects are written anyway, because the annotation %s says so (%s)",
		open.Message, v1alpha1.AnnotationAllowLockout, wording.QuoteText(override, maxQuotedReason))
	if verdict.Reason == v1alpha1.ReasonOverridden { // one more overridden reason
		open.Message = verdict.Message + ". " + open.Message
		return open
	}
	return open.WithNotes(notes)
}

// AllOverridable says whether all open questions may be overridden.
func AllOverridable(undecided []plan.Held) bool {
	return !slices.ContainsFunc(undecided, func(h plan.Held) bool { return h.Reason != v1alpha1.ReasonLoadBalancerUnknown })
}

// PodsEffective fails if pods of components use the network of the node: a
// NetworkPolicy does not select such pods, so that the component's restrictions have no
// effect on the pods.
func PodsEffective(policy *plan.Policy, pods []*state.HostPod) Verdict {
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
		return Verdict{Holds: true, Reason: v1alpha1.ReasonAsDeclared, Message: "No pod of a component bypasses its NetworkPolicy"}
	}
	slices.Sort(found)
	return Verdict{
		Reason: v1alpha1.ReasonBypassPossible,
		Message: "Kubernetes NetworkPolicies do not select pods in their node's network, so that nothing restricts " +
			wording.ListNames(found) + ": run these pods without hostNetwork, or exclude these pods from the component's selector",
	}
}

// hostNetworkedPods returns the pods of a component in the network of the node.
func hostNetworkedPods(component v1alpha1.Component, pods []*state.HostPod) []string {
	selector, err := component.Pods.Selector.Compile()
	if err != nil {
		return nil // the condition of an invalid policy says so already
	}
	var found []string
	for _, pod := range pods {
		if pod.HostNetwork && !pod.Ended && pod.Namespace == component.Pods.Namespace && selector.Matches(labels.Set(pod.Labels)) {
			found = append(found, fmt.Sprintf("%s/%s (component %s)", pod.Namespace, pod.Name, component.Name))
		}
	}
	return found
}
