// SPDX-License-Identifier: Apache-2.0

// Package calico starts a real Calico beside a [testbed.ControlPlane]: its API
// server, or its API as plain CRDs; its kube-controllers; and Felix, which
// turns host policies into rules, on nodes that are network namespaces.
//
//	cp, err := testbed.Start(ctx, testbed.Options{Aggregation: true})
//	c, err := calico.Start(ctx, cp, calico.Options{})
//	cluster, err := c.StartCluster(ctx, calico.ClusterOptions{ControlPlane: 2, Workers: 1})
//
// The API alone needs no privileges. Nodes need those of package
// [network], and the programs that [Available] asks for. Nothing outlives this
// process, however it ends; stop them in the reverse order of the start.
//
// The programs are those of `make testbed-calico`. None of Calico's code is
// linked here: its Kubernetes libraries are older than the operator's.
package calico
