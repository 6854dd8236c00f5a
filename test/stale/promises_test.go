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

// isReportedAsDeclared tells whether a policy is reported as declared in its present generation.
func isReportedAsDeclared(policy *v1alpha1.ControlPlaneNetworkPolicy) bool {
	ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == "True" && ready.Reason == v1alpha1.ReasonAsDeclared && ready.ObservedGeneration == policy.Generation
}

// checkReady: Ready becomes True only once every node has the rules, and its
// enactment shows that. Later changes by others do not matter here.
func (w *world) checkReady(c change, was *unstructured.Unstructured) {
	policy, before := policyOf(c.object), policyOf(was)
	if c.gone || policy.Name != w.policy || policy.DeletionTimestamp != nil || policy.Annotations[v1alpha1.AnnotationRevert] != "" ||
		!isReportedAsDeclared(policy) || isReportedAsDeclared(before) && before.UID == policy.UID && before.Generation == policy.Generation {
		return
	}
	records := w.records()
	if protects := policy.Spec.Network.HostBackend != v1alpha1.HostBackendNone; protects == (len(records) == 0) {
		w.fail(c, "the policy is Ready, and has %d enactments", len(records))
	}
	for _, e := range records {
		endpoint := w.objects["hostendpoints"]["/"+calico.EndpointName(e.Spec.Node, "")]
		if e.Status.PolicyGeneration != policy.Generation {
			w.fail(c, "the policy is Ready in generation %d, and the enactment of %s is of generation %d", policy.Generation, e.Spec.Node, e.Status.PolicyGeneration)
		}
		if phase := rollout.PhaseOf(&e); phase != v1alpha1.PhaseEnforced || versionOf(endpoint) != e.Status.Ruleset {
			w.fail(c, "the policy is Ready, and the enactment of %s is %s with %s; the node has %q", e.Spec.Node, phase, e.Status.Ruleset, versionOf(endpoint))
		}
	}
}

// checkStatusGeneration: no status of an older generation is written.
func (w *world) checkStatusGeneration(c change, was *unstructured.Unstructured) {
	policy, before := policyOf(c.object), policyOf(was)
	if c.gone || policy.Name != w.policy || equality.Semantic.DeepEqual(policy.Status, before.Status) || before.UID != policy.UID {
		return
	}
	if seen := policy.Status.ObservedGeneration; seen != policy.Generation {
		w.fail(c, "the policy has generation %d, and a status of generation %d was written", policy.Generation, seen)
	}
}
