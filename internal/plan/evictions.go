// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	toleration "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// MissingNoExecute returns the NoExecute taints that are claimed for the policy
// and that the node does not have: putting them there evicts pods.
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

// TaintValue returns the value of the node's taint; nil if it has none such.
func TaintValue(node *corev1.Node, field string) *string {
	for _, taint := range node.Spec.Taints {
		if state.TaintField(taint.Key, taint.Effect) == field {
			return &taint.Value
		}
	}
	return nil
}

// Evicted counts the pods that taints would evict, at once or when their
// toleration ends. Static pods are not evicted (their mirror is deleted, the
// pod goes on), nor pods that have ended.
func Evicted(pods []corev1.Pod, taints []corev1.Taint) int {
	count := 0
	for i := range pods {
		pod := &pods[i]
		_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if mirror || ended || pod.DeletionTimestamp != nil {
			continue
		}
		_, untolerated := toleration.FindMatchingUntoleratedTaint(klog.Background(), taints, lasting(pod.Spec.Tolerations), nil, false)
		if untolerated {
			count++
		}
	}
	return count
}

// lasting returns the tolerations that do not end after a time.
func lasting(tolerations []corev1.Toleration) []corev1.Toleration {
	return slices.DeleteFunc(slices.Clone(tolerations), func(t corev1.Toleration) bool { return t.TolerationSeconds != nil })
}
