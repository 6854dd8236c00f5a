// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// NetworkDiff is what differs between the NetworkPolicies that a policy calls
// for and those that are there.
type NetworkDiff struct {
	// Writes and Deletes are what would put it right, in this order: what
	// allows comes before what ends.
	Writes  []NetworkWrite
	Deletes []NetworkWrite
	// Taken are names that are needed and belong to objects of others.
	Taken []string
}

// NetworkWrite is one NetworkPolicy to be written, or deleted.
type NetworkWrite struct {
	Object   Object
	Desired  *networkingv1.NetworkPolicy // nil: to be deleted
	Live     *networkingv1.NetworkPolicy // nil: to be created
	Findings []Finding
}

// Version returns the version of the object that the decision was made on;
// empty if it is not there.
func (w NetworkWrite) Version() string {
	if w.Live == nil {
		return ""
	}
	return w.Live.ResourceVersion
}

// Networks compares what a policy calls for with what is there. What is there
// for a component that can not be rendered now is left alone.
func Networks(policy *plan.Policy, network plan.Network, live []networkingv1.NetworkPolicy) NetworkDiff {
	var diff NetworkDiff
	there := map[types.NamespacedName]*networkingv1.NetworkPolicy{}
	for i := range live {
		there[keyOf(&live[i])] = &live[i]
	}
	wanted := map[types.NamespacedName]bool{}
	for _, desired := range network.Objects {
		key := keyOf(desired)
		wanted[key] = true
		object := Object{Kind: "NetworkPolicy", Namespace: key.Namespace, Name: key.Name}
		if there[key] != nil && !mayTakeOver(there[key], policy.Name) {
			diff.Taken = append(diff.Taken, object.String())
			continue
		}
		findings := NetworkPolicy(policy, desired, there[key], wasInPlace(policy, object))
		if len(findings) > 0 {
			diff.Writes = append(diff.Writes, NetworkWrite{Object: object, Desired: desired, Live: there[key], Findings: findings})
		}
	}
	for i := range live {
		component, ours := madeFor(&live[i], policy.Name)
		if !ours || wanted[keyOf(&live[i])] || held(network, component) {
			continue
		}
		finding := Unexpected(policy, &live[i])
		diff.Deletes = append(diff.Deletes, NetworkWrite{Object: finding.Object, Live: &live[i], Findings: []Finding{finding}})
	}
	// A cache lists in no particular order.
	slices.SortFunc(diff.Deletes, func(a, b NetworkWrite) int { return Compare(a.Findings[0], b.Findings[0]) })
	return diff
}

// madeFor says whether the operator made the NetworkPolicy for the policy, and
// for which component. The name tells: labels can be copied, and taken away.
func madeFor(live *networkingv1.NetworkPolicy, policy string) (component string, made bool) {
	component, named := strings.CutPrefix(live.Name, plan.NetworkPolicyName(policy, ""))
	return component, named && written(live)
}

// mayTakeOver says whether a NetworkPolicy that has a name of ours may be
// written: it carries our label, or it lost that label and we wrote it.
func mayTakeOver(live *networkingv1.NetworkPolicy, policy string) bool {
	return live.Labels[v1alpha1.LabelPolicy] == policy || written(live)
}

func written(live *networkingv1.NetworkPolicy) bool {
	return slices.ContainsFunc(live.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == v1alpha1.FieldManagerNetwork
	})
}

// wasInPlace says whether the last report for this generation found the object
// in place, or found it drifted.
func wasInPlace(policy *plan.Policy, object Object) bool {
	status := policy.Status
	if status.ObservedGeneration != policy.Generation {
		return false
	}
	count := status.NetworkPolicies
	if count.Declared != nil && count.InSync != nil && *count.Declared == *count.InSync {
		return true
	}
	return slices.ContainsFunc(status.Drift, func(d v1alpha1.Drift) bool {
		drifted := d.State == v1alpha1.StateDrifted || d.State == v1alpha1.StateContested
		return drifted && Object{d.Kind, d.Namespace, d.Name} == object
	})
}

func held(network plan.Network, component string) bool {
	return slices.ContainsFunc(network.Held, func(h plan.Held) bool { return h.Component == component })
}

func keyOf(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}
