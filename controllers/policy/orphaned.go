// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"slices"
	"strings"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// maxAbandoned limits the number of deleted policies with remembered events about remaining
// objects. The limit is needed because whoever can write such objects can invent names of
// policies.
const maxAbandoned = 64

// abandoned remembers, by name of a deleted policy, which remaining objects were reported.
// The zero value is ready to use. abandoned is used only by the single worker for policies.
type abandoned map[string]string

// news tells whether the remaining objects of a policy differ from the objects last
// reported.
func (a *abandoned) news(policy string, left []string) bool {
	text := strings.Join(left, "\n")
	if text == "" || (*a)[policy] == text {
		return false
	}
	if _, known := (*a)[policy]; !known && len(*a) >= maxAbandoned {
		return false
	}
	if *a == nil {
		*a = abandoned{}
	}
	(*a)[policy] = text
	return true
}

func (a *abandoned) forget(policy string) { delete(*a, policy) }

// tellAbandoned reports objects written for a policy that does not exist any more: a user
// has removed the policy's finalizer, or has orphaned the objects on purpose. The operator
// cannot distinguish the two, so the objects stay.
func (r *Reconciler) tellAbandoned(ctx context.Context, name string, policies []plan.Policy, snapshot state.Snapshot) error {
	if snapshot.Unconfirmed || !r.abandoned.news(name, namesOf(r.labelledWith(name, policies, snapshot))) {
		return nil
	}
	live, err := r.Observe.RefreshSnapshot(ctx, snapshot) // the cache may be stale after deletions
	if err == nil {
		live.NetworkPolicies, err = r.Observe.NetworkPoliciesNow(ctx)
	}
	if err != nil {
		r.abandoned.forget(name)
		return err
	}
	present := r.compiler.Compile(live.Policies)
	left := r.labelledWith(name, present, live)
	if len(left) == 0 || plan.FindPolicy(present, name) != nil {
		return nil
	}
	e := report.ObjectsWithoutPolicy(name, namesOf(left))
	logf.FromContext(ctx).Info(e.Note)
	r.Reporter.Recorder.Eventf(left[0].Live, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
	return nil
}

// labelledWith returns the managed objects with the name of a policy that does not exist.
func (r *Reconciler) labelledWith(name string, policies []plan.Policy, snapshot state.Snapshot) []drift.Write {
	gone := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{}}
	gone.Name, gone.Annotations = name, map[string]string{v1alpha1.AnnotationRevert: "deleted"}
	there := r.Assessor.AssessOnce(gone, policies, snapshot)
	return slices.DeleteFunc(slices.Concat(there.Diff.Removals, there.HostDiff.Removals), func(w drift.Write) bool {
		return w.Live.GetLabels()[v1alpha1.LabelPolicy] != name
	})
}

// abandonedPolicies returns the names of missing policies found in the labels of objects
// for hosts.
func abandonedPolicies(policies []plan.Policy, live backend.Live) []string {
	var names []string
	for _, object := range live.Objects() {
		name := object.GetLabels()[v1alpha1.LabelPolicy]
		if name == "" || !backend.IsWrittenByOperator(object) || plan.FindPolicy(policies, name) != nil || slices.Contains(names, name) {
			continue
		}
		if names = append(names, name); len(names) == maxAbandoned {
			break
		}
	}
	return names
}
