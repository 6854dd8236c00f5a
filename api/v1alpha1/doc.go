// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the API of cpnp-operator: one cluster-scoped object, the
// ControlPlaneNetworkPolicy, that declares the network posture which a
// Kubernetes control plane must have.
//
// +kubebuilder:object:generate=true
// +groupName=cpnp.dev
package v1alpha1
