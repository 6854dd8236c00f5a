// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	toleration "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// MissingNoExecute returns the NoExecute taints that the policy claims and the node lacks.
// Setting such a taint evicts pods.
func MissingNoExecute(node *corev1.Node, claims []Claim, policy string) []corev1.Taint {
	var taints []corev1.Taint
	for _, claim := range claims {
		key, effect := state.ParseTaintField(claim.Field)
		if effect != corev1.TaintEffectNoExecute || claim.Policy.Name != policy {
			continue
		}
		if value := TaintValue(node, claim.Field); value == nil || *value != claim.Want {
			taints = append(taints, corev1.Taint{Key: key, Value: claim.Want, Effect: effect})
		}
	}
	return taints
}

// TaintValue returns the value of the node's taint; nil if the node lacks the taint.
func TaintValue(node *corev1.Node, field string) *string {
	for _, taint := range node.Spec.Taints {
		if state.TaintField(taint.Key, taint.Effect) == field {
			return &taint.Value
		}
	}
	return nil
}

// CountEvicted counts the pods that the taints would evict, at once or at the end of a
// toleration. Static pods do not count, because an eviction deletes only the mirror pod and
// the static pod runs on. Ended pods do not count either.
func CountEvicted(pods []corev1.Pod, taints []corev1.Taint) int {
	count := 0
	for i := range pods {
		pod := &pods[i]
		_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if mirror || ended || pod.DeletionTimestamp != nil {
			continue
		}
		_, untolerated := toleration.FindMatchingUntoleratedTaint(klog.Background(), taints, lastingTolerations(pod.Spec.Tolerations), nil, false)
		if untolerated {
			count++
		}
	}
	return count
}

// lastingTolerations returns the tolerations without an end.
func lastingTolerations(tolerations []corev1.Toleration) []corev1.Toleration {
	return slices.DeleteFunc(slices.Clone(tolerations), func(t corev1.Toleration) bool { return t.TolerationSeconds != nil })
}
