// SPDX-License-Identifier: Apache-2.0

// Package network creates machines as Linux network namespaces, connects the machines, and
// returns the verdict on packets between machines: tests of host policies run on such
// machines.
//
//	n, err := network.New(ctx, "cp-1", "worker-1")
//	cp, worker := n.Machine("cp-1"), n.Machine("worker-1")
//	_, err = cp.Listen(network.TCP, 2379)
//	verdict, err := worker.Dial(network.TCP, netip.AddrPortFrom(cp.Cluster.IPv4, 2379))
//
// Every machine has two devices: eth0 in the cluster network, with the address of the
// Kubernetes node, and eth1 in a second network, like a dedicated control-plane network. No
// namespace has a name or a link to the host's network: packets cannot leave the
// namespaces, concurrent tests do not meet, and all namespaces end with the calling
// process, even if the calling process is killed.
package network
