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

// Own is where the operator finds out about itself.
type Own struct {
	// Pod is the one that this process is in; empty outside of a cluster.
	Pod types.NamespacedName
	// Server is the name by which it reaches the API server; empty if that is an
	// address.
	Server string
	// Pods reads the pods of its namespace.
	Pods client.Reader
}

// Operator is what is known of the operator's own pods. Whatever a policy declares,
// one of them must go on: nobody else would take back what it did.
type Operator struct {
	Own
	// Running are the pod of this process, which is the leader's, first, and those of
	// the same controller. Who may label pods cannot be taken for one.
	Running []corev1.Pod
}

// Known says whether the pod of this process was found, where it is in one.
func (o Operator) Known() bool { return o.Pod.Namespace == "" || len(o.Running) > 0 }

// Operator returns the operator's own pods.
func (o Observer) Operator(ctx context.Context) (Operator, error) {
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
		if pod.Name != o.Own.Pod.Name && sameController(pod, operator.Running[0]) && !ended(pod) {
			operator.Running = append(operator.Running, pod)
		}
	}
	return operator, nil
}

func sameController(a, b corev1.Pod) bool {
	of, other := metav1.GetControllerOfNoCopy(&a), metav1.GetControllerOfNoCopy(&b)
	return of != nil && other != nil && of.UID == other.UID
}

func ended(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// TransformOwnPod keeps what tells whose a pod is, which NetworkPolicies select it,
// and on which nodes it can run.
func TransformOwnPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	slim := &corev1.Pod{ObjectMeta: slimMeta(pod.ObjectMeta, nil)}
	slim.Labels = pod.Labels // all of them: NetworkPolicies know no bounds
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
