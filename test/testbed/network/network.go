// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// maxMachines is the number of addresses, from .11 on.
const maxMachines = 200

// Network is a set of machines. Several goroutines may call its methods.
type Network struct {
	machines map[string]*Machine
	bridges  *namespace // holds one bridge for each of the two networks
}

// New creates machines of these names, and connects the machines. The n-th machine has the
// addresses 10.77.0.<10+n> and fd77::<10+n> in the cluster network, and the same of
// 10.78.0.0/24 and fd78::/64 in the dedicated network.
func New(ctx context.Context, names ...string) (*Network, error) {
	if len(names) > maxMachines {
		return nil, fmt.Errorf("%d machines, of at most %d", len(names), maxMachines)
	}
	bridges, err := newNamespace()
	if err != nil {
		return nil, err
	}
	n := &Network{machines: map[string]*Machine{}, bridges: bridges}
	if err := n.connectMachines(ctx, names); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Machine returns the machine of this name, or nil.
func (n *Network) Machine(name string) *Machine { return n.machines[name] }

// Close removes the network, and kills all programs on its machines.
func (n *Network) Close() {
	for _, m := range n.machines {
		m.closeGuests()
	}
	n.bridges.close()
}

func (n *Network) connectMachines(ctx context.Context, names []string) error {
	var bridges strings.Builder
	for _, bridge := range []string{clusterBridge, dedicatedBridge} {
		// Without snooping, neighbor discovery needs no multicast router.
		fmt.Fprintf(&bridges, "link add %s type bridge mcast_snooping 0\nlink set %s up\n", bridge, bridge)
	}
	for i, name := range names {
		m, err := newMachine(name, i)
		if err != nil {
			return fmt.Errorf("machine %s: %w", name, err)
		}
		n.machines[name] = m
		for device, bridge := range map[string]string{"eth0": clusterBridge, "eth1": dedicatedBridge} {
			port := fmt.Sprintf("m%d%s", i, device)
			fmt.Fprintf(&bridges, "link add %s type veth peer name %s netns %s\nlink set %s master %s up\n",
				port, device, m.namespace.path, port, bridge)
		}
	}
	if err := ipBatch(ctx, n.bridges, bridges.String()); err != nil {
		return fmt.Errorf("bridges: %w", err)
	}
	for _, m := range n.machines {
		if err := m.configureDevices(ctx); err != nil {
			return fmt.Errorf("machine %s: %w", m.Name, err)
		}
	}
	return n.waitUntilForwarding(ctx)
}

// waitUntilForwarding waits until the devices forward packets: the kernel brings a link up
// some time after the command, and drops packets meanwhile.
func (n *Network) waitUntilForwarding(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		links, err := runCommand(ctx, n.bridges, "", "bridge", "link")
		if err != nil || strings.Count(links, " state forwarding ") < 2*len(n.machines) {
			return false, err
		}
		for _, m := range n.machines {
			links, err := m.Output(ctx, "ip", "-oneline", "link")
			if err != nil || strings.Count(links, " state UP ") < 2 {
				return false, err
			}
		}
		return true, nil
	})
}

const (
	clusterBridge   = "cluster"
	dedicatedBridge = "dedicated"
)

// Addresses are the addresses of one device.
type Addresses struct{ IPv4, IPv6 netip.Addr }

// addressesIn returns the index-th machine's addresses in 10.<network>.0.0/24 and
// fd<network>::/64.
func addressesIn(network, index int) Addresses {
	return Addresses{
		IPv4: netip.MustParseAddr(fmt.Sprintf("10.%d.0.%d", network, index+11)),
		IPv6: netip.MustParseAddr(fmt.Sprintf("fd%d::%d", network, index+11)),
	}
}

// ipBatch runs the commands of ip(8), one in each line.
func ipBatch(ctx context.Context, n *namespace, commands string) error {
	_, err := runCommand(ctx, n, commands, "ip", "-batch", "-")
	return err
}
