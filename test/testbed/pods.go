// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodOption changes a pod of the function [Pod].
type PodOption func(*corev1.Pod)

// Pod is a pod with a single container, without a pull of the image.
func Pod(namespace, name string, options ...PodOption) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Image: "none"}},
		},
	}
	for _, option := range options {
		option(pod)
	}
	return pod
}

// OnNode binds the pod to a node, without the scheduler.
func OnNode(name string) PodOption {
	return func(pod *corev1.Pod) { pod.Spec.NodeName = name }
}

// HostNetwork puts the pod on its node's network: NetworkPolicies then do not select the
// pod, and kwok gives the node's address to the pod.
func HostNetwork() PodOption {
	return func(pod *corev1.Pod) { pod.Spec.HostNetwork = true }
}

// Tolerations adds tolerations.
func Tolerations(tolerations ...corev1.Toleration) PodOption {
	return func(pod *corev1.Pod) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, tolerations...)
	}
}

// PodLabels adds labels.
func PodLabels(labels map[string]string) PodOption {
	return func(pod *corev1.Pod) {
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		for key, value := range labels {
			pod.Labels[key] = value
		}
	}
}
