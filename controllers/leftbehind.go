// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// maxAbandoned is of how many policies that are gone it is remembered that what they
// left was told of. Whoever can write such objects can invent names.
const maxAbandoned = 64

// abandoned remembers by policy that is gone what was told of. The zero value is ready;
// it is for the one worker of policies.
type abandoned map[string]string

// news says whether something else is left of a policy than was told of last.
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

// tellAbandoned tells what there is that was written for a policy which is not there any
// more: somebody took its finalizer away, or it was left behind on purpose. It cannot be
// told which, so it stays.
func (r *PolicyReconciler) tellAbandoned(ctx context.Context, name string, policies []plan.Policy, snapshot state.Snapshot) error {
	if snapshot.Unconfirmed || !r.abandoned.news(name, namesOf(labelledWith(name, policies, snapshot))) {
		return nil
	}
	live, err := r.Observe.RefreshSnapshot(ctx, snapshot) // the cache may show for a while still what was deleted just now
	if err == nil {
		live.NetworkPolicies, err = r.Observe.NetworkPoliciesNow(ctx)
	}
	if err != nil {
		r.abandoned.forget(name)
		return err
	}
	left := labelledWith(name, plan.Compile(live.Policies), live)
	if len(left) == 0 || plan.Find(plan.Compile(live.Policies), name) != nil {
		return nil
	}
	e := report.ObjectsWithoutPolicy(name, namesOf(left))
	logf.FromContext(ctx).Info(e.Note)
	r.Reporter.Recorder.Eventf(left[0].Live, nil, e.Type, e.Reason, e.Action, "%s", e.Note)
	return nil
}

// labelledWith returns what the operator wrote that bears the name of a policy which is
// not there.
func labelledWith(name string, policies []plan.Policy, snapshot state.Snapshot) []drift.Write {
	gone := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{}}
	gone.Name = name
	there := writtenFor(gone, policies, snapshot)
	return slices.DeleteFunc(slices.Concat(there.networkPolicies, there.hosts.Removals), func(w drift.Write) bool {
		return w.Live.GetLabels()[v1alpha1.LabelPolicy] != name
	})
}

// abandonedPolicies returns the names that objects of Calico bear of policies that are
// not there.
func abandonedPolicies(policies []plan.Policy, there state.Calico) []string {
	var names []string
	for _, object := range drift.ObjectsOf(there) {
		name := object.GetLabels()[v1alpha1.LabelPolicy]
		if name == "" || !plan.Written(object) || plan.Find(policies, name) != nil || slices.Contains(names, name) {
			continue
		}
		if names = append(names, name); len(names) == maxAbandoned {
			break
		}
	}
	return names
}
