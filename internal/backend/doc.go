// SPDX-License-Identifier: Apache-2.0

// Package backend is the seam between the operator and the dataplanes that can restrict
// traffic to hosts. Planning, drift, verification, rollout and reports speak of hosts,
// components, flows, sets of addresses and rulesets, and know no kind of a dataplane.
//
// A backend consists of three parts:
//
//   - Live: what the backend has in the cluster at one moment, and how the backend renders
//     hosts into objects.
//   - Kinds: what the objects of the backend's kinds stand for, and how such objects are
//     written. Register makes the kinds known.
//   - verify.Judge: what the objects do to flows.
//
// The package calico, with its subpackages, is the only one that knows the API of Calico.
package backend
