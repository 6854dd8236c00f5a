// SPDX-License-Identifier: Apache-2.0

// Package probe tries to reach a control-plane node from the place of the observer, and
// writes the results into the node's ControlPlaneNodeEnactment. The package decides
// nothing: package rollout judges the results.
//
// The operator is an observer too, and needs the rights below. Observers on nodes have a
// separate role, in config/probe.
//
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments,verbs=list;watch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments/status,verbs=patch
package probe
