// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Own is the source for facts about the operator itself.
type Own struct {
	// Pod is the pod of this process; empty outside of a cluster.
	Pod types.NamespacedName
	// Server is the host name of the API server in the client's configuration; empty if
	// the configuration has an address.
	Server string
	// Pods reads the pods of the operator's namespace.
	Pods client.Reader
}

// Operator holds the known facts about the operator's own pods. At least one of the pods
// must keep running under every policy, because only the operator can roll back.
type Operator struct {
	Own
	// Running are the pod of this process first, which is the pod of the leader, and then
	// the pods of the same controller. Labels do not count, because other writers may set
	// labels on pods.
	Running []corev1.Pod
}

// IsKnown says whether the pod of this process was found, or the process runs outside
// of a cluster.
func (o Operator) IsKnown() bool { return o.Pod.Namespace == "" || len(o.Running) > 0 }

// FindOperator returns the operator's own pods.
func (o Observer) FindOperator(ctx context.Context) (Operator, error) {
	operator := Operator{Own: o.Own}
	if o.Own.Pod.Namespace == "" {
		return operator, nil
	}
	var pods corev1.PodList
	if err := o.Own.Pods.List(ctx, &pods, client.InNamespace(o.Own.Pod.Namespace)); err != nil {
		return operator, fmt.Errorf("listing the operator's own pods: %w", err)
	}
	self := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Name == o.Own.Pod.Name })
	if self < 0 {
		return operator, nil
	}
	operator.Running = []corev1.Pod{pods.Items[self]}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, pod := range pods.Items {
		if pod.Name != o.Own.Pod.Name && sameController(pod, operator.Running[0]) && !hasEnded(pod) {
			operator.Running = append(operator.Running, pod)
		}
	}
	return operator, nil
}

func sameController(a, b corev1.Pod) bool {
	of, other := metav1.GetControllerOfNoCopy(&a), metav1.GetControllerOfNoCopy(&b)
	return of != nil && other != nil && of.UID == other.UID
}

func hasEnded(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// TransformOwnPod keeps the fields about the controller of a pod, the NetworkPolicies for
// the pod, and the nodes on which the pod can run.
func TransformOwnPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	slim := &corev1.Pod{ObjectMeta: slimMeta(pod.ObjectMeta, nil)}
	slim.Labels = pod.Labels // all labels, because NetworkPolicies select by any label
	slim.OwnerReferences = pod.OwnerReferences
	slim.Spec.HostNetwork = pod.Spec.HostNetwork
	slim.Spec.NodeName = pod.Spec.NodeName
	slim.Spec.NodeSelector = pod.Spec.NodeSelector
	slim.Spec.Tolerations = pod.Spec.Tolerations
	if pod.Spec.Affinity != nil && pod.Spec.Affinity.NodeAffinity != nil {
		required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		slim.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
	}
	slim.Status.Phase = pod.Status.Phase
	return slim, nil
}
