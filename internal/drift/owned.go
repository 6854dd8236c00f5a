// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Diff is what differs between the objects that a policy calls for, which are
// the operator's own, and those that are there.
type Diff struct {
	// Writes and Removals are what would put it right, in this order. Removals
	// are objects to be deleted, and such as are to allow less than before.
	Writes   []Write
	Removals []Write
	// Taken are names that are needed and belong to objects of others.
	Taken []string
}

// Write is one object to be written, or deleted.
type Write struct {
	Object   Object
	Desired  plan.Object // nil: to be deleted
	Live     plan.Object // nil: to be created
	Findings []Finding

	// Node is the node that an object of Calico concerns alone; empty if there is none.
	Node string
	// Stage is the write stage of an object of Calico.
	Stage int
	// RollsBack says that the write only ends a restriction of its node, or gives the
	// node an older ruleset in place of a newer one. Such a write waits for nothing.
	RollsBack bool
}

// Version returns the version of the object that the decision was made on;
// empty if it is not there.
func (w Write) Version() string {
	if w.Live == nil {
		return ""
	}
	return w.Live.GetResourceVersion()
}

// Conflicted says that somebody else has decided about the object, so that it
// is not written.
func (w Write) Conflicted() bool {
	return slices.ContainsFunc(w.Findings, func(f Finding) bool { return f.State == v1alpha1.StateConflicted })
}

// Networks compares the NetworkPolicies that a policy calls for with those that
// are there. What is there for a component that can not be rendered now is left
// alone.
func Networks(policy *plan.Policy, network plan.Network, live []networkingv1.NetworkPolicy) Diff {
	desired := make([]plan.Object, 0, len(network.Objects))
	for _, object := range network.Objects {
		desired = append(desired, object)
	}
	there := make([]plan.Object, 0, len(live))
	for i := range live {
		there = append(there, &live[i])
	}
	last := lastReport(policy, policy.Status.NetworkPolicies, len(network.Objects)+len(network.Held))
	return compareAll(policy, desired, there, last.wasInPlace, func(live plan.Object) bool {
		component, ours := madeFor(live, policy.Name)
		return ours && !held(network, component)
	})
}

// compareAll compares desired objects with those that are there, of which it
// calls for the deletion of those that are obsolete.
func compareAll(policy *plan.Policy, desired, live []plan.Object, wasInPlace, obsolete func(plan.Object) bool) Diff {
	var diff Diff
	there := make(map[Object]plan.Object, len(live))
	for _, object := range live {
		there[ObjectOf(object)] = object
	}
	for _, want := range desired {
		object := ObjectOf(want)
		is, found := there[object]
		delete(there, object)
		if found && !mayTakeOver(is, policy.Name) {
			diff.Taken = append(diff.Taken, taken(object, is))
			continue
		}
		findings := Owned(policy, want, is, wasInPlace(want))
		if len(findings) > 0 {
			diff.Writes = append(diff.Writes, Write{Object: object, Desired: want, Live: is, Findings: findings})
		}
	}
	for object, left := range there {
		if obsolete(left) {
			diff.Removals = append(diff.Removals, Write{Object: object, Live: left, Findings: []Finding{unexpected(policy, object)}})
		}
	}
	// A cache lists in no particular order.
	slices.SortFunc(diff.Removals, func(a, b Write) int { return Compare(a.Findings[0], b.Findings[0]) })
	return diff
}

// ObjectOf returns the name of an object. Those from a cache do not say their
// kind.
func ObjectOf(object plan.Object) Object {
	kind := object.GetObjectKind().GroupVersionKind().Kind
	switch object.(type) {
	case *networkingv1.NetworkPolicy:
		kind = "NetworkPolicy"
	case *v3.Tier:
		kind = v3.KindTier
	case *v3.GlobalNetworkSet:
		kind = v3.KindGlobalNetworkSet
	case *v3.GlobalNetworkPolicy:
		kind = v3.KindGlobalNetworkPolicy
	case *v3.HostEndpoint:
		kind = v3.KindHostEndpoint
	case *v3.FelixConfiguration:
		kind = v3.KindFelixConfiguration
	}
	return Object{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}

// madeFor says whether the operator made the NetworkPolicy for the policy, and
// for which component. The name tells: labels can be copied, and taken away.
func madeFor(live plan.Object, policy string) (component string, made bool) {
	component, named := strings.CutPrefix(live.GetName(), plan.NetworkPolicyName(policy, ""))
	return component, named && plan.Written(live)
}

// mayTakeOver says whether an object that has a name of ours may be written: we
// wrote it, or it carries our label and nobody declares it elsewhere, or nobody is
// meant to have it for himself. One that is in git with our name and our label was
// there before, is put back from there, and may not go with the policy.
func mayTakeOver(live plan.Object, policy string) bool {
	if plan.Written(live) || plan.Shared(live) {
		return true
	}
	if live.GetLabels()[v1alpha1.LabelPolicy] != policy {
		return false
	}
	return declaredElsewhere(live) == "" || restoredEndpoint(live)
}

// restoredEndpoint says whether a host endpoint is what the operator once wrote, put
// back with kubectl, such as from a backup. Without it nothing is denied: it must be
// possible to roll it back.
func restoredEndpoint(live plan.Object) bool {
	_, endpoint := live.(*v3.HostEndpoint)
	return endpoint && plan.Stamped(live) && !keptByTool(live)
}

// taken tells of an object that is not the operator's, and who declares it.
func taken(object Object, live plan.Object) string {
	if by := declaredElsewhere(live); by != "" {
		return object.String() + ", which " + named(by) + " declares"
	}
	return object.String()
}

// report is what a policy's status last said of one part of its posture.
type report struct {
	// whole says that everything was in place that is called for now.
	whole bool
	// drifted are the objects that were not, and had been before.
	drifted map[Object]bool
}

// lastReport returns what the status says where so many objects are called for
// now. A report that is about another generation, or about fewer objects, such
// as those of fewer nodes, says nothing of a missing one: it may be new. Nor does one of
// a policy that was taken back: the operator has taken it away itself.
func lastReport(policy *plan.Policy, count v1alpha1.SyncCount, objects int) report {
	status := policy.Status
	programmed := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionProgrammed)
	takenBack := programmed != nil && programmed.Reason == v1alpha1.ReasonTakenBack
	if status.ObservedGeneration != policy.Generation || takenBack {
		return report{}
	}
	r := report{drifted: map[Object]bool{}}
	if count.Declared != nil && count.InSync != nil {
		r.whole = *count.Declared == *count.InSync && int(*count.Declared) == objects
	}
	for _, d := range status.Drift {
		if d.State == v1alpha1.StateDrifted || d.State == v1alpha1.StateContested {
			r.drifted[Object{d.Kind, d.Namespace, d.Name}] = true
		}
	}
	return r
}

func (r report) wasInPlace(object plan.Object) bool { return r.whole || r.drifted[ObjectOf(object)] }

func held(network plan.Network, component string) bool {
	return slices.ContainsFunc(network.Held, func(h plan.Held) bool { return h.Component == component })
}
