// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the API of cpnp-operator. Its main object is the cluster-scoped
// ControlPlaneNetworkPolicy, which declares the network posture of a Kubernetes control
// plane.
//
// +kubebuilder:object:generate=true
// +groupName=cpnp.dev
package v1alpha1
