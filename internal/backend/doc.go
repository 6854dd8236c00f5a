// SPDX-License-Identifier: Apache-2.0

// Package backend is the seam between the operator and the dataplanes that can restrict
// traffic to hosts. Planning, drift, verification, rollout and reports speak of hosts,
// components, flows, sets of addresses and rulesets, and do not depend on any dataplane.
//
// A backend consists of three parts:
//
//   - Live: the backend's objects in the cluster at one moment, and how the backend renders
//     hosts into objects.
//   - Kinds: the meaning of the backend's kinds of objects, and how such objects are
//     written. Register makes the kinds known.
//   - verify.Judge: the effect of the objects on flows.
//
// Only the package calico and its subpackages know the API of Calico.
package backend
