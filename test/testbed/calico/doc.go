// SPDX-License-Identifier: Apache-2.0

// Package calico starts a real Calico beside a [testbed.ControlPlane]: Calico's API server,
// or Calico's API as plain CRDs; Calico's kube-controllers; and Felix, which turns host
// policies into rules. Each node is a network namespace.
//
//	cp, err := testbed.Start(ctx, testbed.Options{Aggregation: true})
//	c, err := calico.Start(ctx, cp, calico.Options{})
//	cluster, err := c.StartCluster(ctx, calico.ClusterOptions{ControlPlane: 2, Workers: 1})
//
// The API alone needs no privileges. Nodes need the privileges of package [network], and
// the programs of [Available]. All programs end with the calling process, even if the
// calling process is killed; stop the parts in the reverse order of the start.
//
// `make testbed-calico` builds the programs. No code of Calico is linked here, because
// Calico's Kubernetes libraries are older than the operator's.
package calico
