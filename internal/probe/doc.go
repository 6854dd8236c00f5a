// SPDX-License-Identifier: Apache-2.0

// Package probe tries whether a control-plane node can be reached, from the
// place where it runs, and writes what it found into the node's
// ControlPlaneNodeEnactment. It decides nothing: what a result means is the
// rollout's affair.
//
// The operator is an observer itself, and needs what is below. Observers on
// nodes have a role of their own, in config/probe.
//
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments,verbs=list;watch
// +kubebuilder:rbac:groups=cpnp.dev,resources=controlplanenodeenactments/status,verbs=patch
package probe
