// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

func policyOf(object *unstructured.Unstructured) *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	if object != nil {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, policy); err != nil {
			panic(err)
		}
	}
	return policy
}

// says returns whether a policy is said to be as declared in its present generation.
func says(policy *v1alpha1.ControlPlaneNetworkPolicy) bool {
	ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == "True" && ready.Reason == v1alpha1.ReasonAsDeclared && ready.ObservedGeneration == policy.Generation
}

// promise: Ready becomes True only when every node has the rules, and that is on record.
// What others undo later is another matter.
func (w *world) promise(c change, was *unstructured.Unstructured) {
	policy, before := policyOf(c.object), policyOf(was)
	if c.gone || policy.Name != w.policy || policy.DeletionTimestamp != nil || policy.Annotations[v1alpha1.AnnotationRevert] != "" ||
		!says(policy) || says(before) && before.UID == policy.UID && before.Generation == policy.Generation {
		return
	}
	records := w.records()
	if protects := policy.Spec.Network.HostBackend != v1alpha1.HostBackendNone; protects == (len(records) == 0) {
		w.fail(c, "it is Ready, and so many nodes are on record: %d", len(records))
	}
	for _, e := range records {
		endpoint := w.objects["hostendpoints"]["/"+calico.EndpointName(e.Spec.Node, "")]
		if e.Status.PolicyGeneration != policy.Generation {
			w.fail(c, "it is Ready in generation %d, and of %s is on record how far it was in generation %d", policy.Generation, e.Spec.Node, e.Status.PolicyGeneration)
		}
		if phase := rollout.PhaseOf(&e); phase != v1alpha1.PhaseEnforced || versionOf(endpoint) != e.Status.Ruleset {
			w.fail(c, "it is Ready, and on record %s is %s with %s; it has %q", e.Spec.Node, phase, e.Status.Ruleset, versionOf(endpoint))
		}
	}
}

// upToDate: no status of an older generation takes the place of another one.
func (w *world) upToDate(c change, was *unstructured.Unstructured) {
	policy, before := policyOf(c.object), policyOf(was)
	if c.gone || policy.Name != w.policy || equality.Semantic.DeepEqual(policy.Status, before.Status) || before.UID != policy.UID {
		return
	}
	if seen := policy.Status.ObservedGeneration; seen != policy.Generation {
		w.fail(c, "its generation is %d, and a status of generation %d was written", policy.Generation, seen)
	}
}
