// SPDX-License-Identifier: Apache-2.0

package state

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// HostPod is a pod in the network of its node, as the cache keeps the pod. A corev1.Pod has
// 1,240 bytes even when empty, and every node has several such pods.
type HostPod struct {
	metav1.ObjectMeta
	// HostNetwork tells that the pod uses the network of the node: false for a pod from a
	// cache without the field selector.
	HostNetwork bool
	// Ended tells that the containers of the pod do not run any more.
	Ended bool
}

// GetObjectKind implements runtime.Object.
func (p *HostPod) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (p *HostPod) DeepCopyObject() runtime.Object {
	return &HostPod{ObjectMeta: *p.DeepCopy(), HostNetwork: p.HostNetwork, Ended: p.Ended}
}

// TransformPod keeps the fields that tell whether a host-networked pod belongs to a
// component.
func TransformPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	return &HostPod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: shareText(pod.Namespace), Name: pod.Name, ResourceVersion: pod.ResourceVersion,
			Labels: shareMap(boundLabels(pod.Labels)),
		},
		HostNetwork: pod.Spec.HostNetwork,
		Ended:       hasEnded(*pod),
	}, nil
}
