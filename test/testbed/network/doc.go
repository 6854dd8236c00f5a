// SPDX-License-Identifier: Apache-2.0

// Package network makes machines that are Linux network namespaces, connects
// them, and tells what becomes of packets between them: it is what host
// policies are tried on.
//
//	n, err := network.New(ctx, "cp-1", "worker-1")
//	cp, worker := n.Machine("cp-1"), n.Machine("worker-1")
//	_, err = cp.Listen(network.TCP, 2379)
//	verdict, err := worker.Dial(network.TCP, netip.AddrPortFrom(cp.Cluster.IPv4, 2379))
//
// Every machine has two devices: eth0 in the cluster network, which carries
// the address of the Kubernetes node, and eth1 in a network of its own, as a
// dedicated control-plane network is. No namespace has a name or a link to
// this machine's network: packets can not leave it, tests that run side by
// side do not meet, and it all goes when this process goes, in whatever way.
package network
