// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// ControlPlaneRole is the label of a control-plane node, and the key of the usual
	// taint.
	ControlPlaneRole = "node-role.kubernetes.io/control-plane"

	betaOS   = "beta.kubernetes.io/os"
	betaArch = "beta.kubernetes.io/arch"

	kwokAnnotation = "kwok.x-k8s.io/node"
	kwokFake       = "fake"
)

// NodeOption changes a node of the function [Node].
type NodeOption func(*corev1.Node)

// Node is a node with kwok as the kubelet. Create the node with [CreateNode]: an ordinary
// create drops the addresses in the status.
func Node(name string, options ...NodeOption) *corev1.Node {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{kwokAnnotation: kwokFake},
			// The labels of a kubelet. Without the two older labels, the node lifecycle
			// controller adds these some time after the creation of the node.
			Labels: map[string]string{
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: "amd64",
				betaOS:                 "linux",
				betaArch:               "amd64",
			},
		},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}},
		},
	}
	for _, option := range options {
		option(node)
	}
	return node
}

// ControlPlaneNode labels the node as a control-plane node, and sets no taint.
func ControlPlaneNode() NodeOption {
	return NodeLabels(map[string]string{ControlPlaneRole: ""})
}

// NodeLabels adds labels.
func NodeLabels(labels map[string]string) NodeOption {
	return func(node *corev1.Node) {
		for key, value := range labels {
			node.Labels[key] = value
		}
	}
}

// InternalIP adds addresses, at most one of each family.
func InternalIP(addresses ...string) NodeOption {
	return func(node *corev1.Node) {
		for _, address := range addresses {
			node.Status.Addresses = append(node.Status.Addresses,
				corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
		}
	}
}

// Taints adds taints.
func Taints(taints ...corev1.Taint) NodeOption {
	return func(node *corev1.Node) {
		node.Spec.Taints = append(node.Spec.Taints, taints...)
	}
}

// WithoutKwok makes a node without a kubelet. The test sets its readiness, with [NodeReady]
// or [SetNodeReady]: kwok would make the node Ready again at once. The controller-manager
// of the test bed leaves the node as it is.
func WithoutKwok() NodeOption {
	return func(node *corev1.Node) { delete(node.Annotations, kwokAnnotation) }
}

// NodeReady sets the condition Ready of a node without kwok.
func NodeReady(status corev1.ConditionStatus) NodeOption {
	return func(node *corev1.Node) {
		node.Status.Conditions = append(node.Status.Conditions, readyCondition(status))
	}
}

// CreateNode creates the node, and then writes its status in a second request. The second
// request contains only the fields of node.Status, because kwok writes the status at the
// same time. On return, node is as the API server has stored the node.
func CreateNode(ctx context.Context, c client.Client, node *corev1.Node) error {
	status := node.Status.DeepCopy()
	if err := c.Create(ctx, node); err != nil {
		return fmt.Errorf("create node %s: %w", node.Name, err)
	}
	created := node.DeepCopy()
	created.Status = corev1.NodeStatus{}
	node.Status = *status
	if err := c.Status().Patch(ctx, node, client.MergeFrom(created)); err != nil {
		return fmt.Errorf("status of node %s: %w", node.Name, err)
	}
	return nil
}

// SetNodeReady changes the condition Ready of a node without kwok.
func SetNodeReady(ctx context.Context, c client.Client, name string, status corev1.ConditionStatus) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	before := node.DeepCopy()
	node.Status.Conditions = []corev1.NodeCondition{readyCondition(status)}
	// A strategic merge patch merges the list by type, and other conditions stay.
	if err := c.Status().Patch(ctx, node, client.StrategicMergeFrom(before)); err != nil {
		return fmt.Errorf("readiness of node %s: %w", name, err)
	}
	return nil
}

func readyCondition(status corev1.ConditionStatus) corev1.NodeCondition {
	now := metav1.Now()
	return corev1.NodeCondition{
		Type: corev1.NodeReady, Status: status, Reason: "Testbed",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}
}
