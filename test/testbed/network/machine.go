// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
)

// Machine is a host with a separate network, but with the processes, users and files of the
// real host.
type Machine struct {
	Name      string
	Cluster   Addresses // of eth0
	Dedicated Addresses // of eth1

	namespace *namespace

	mu        sync.Mutex
	listeners []io.Closer
	guests    []*Machine
}

func newMachine(name string, index int) (*Machine, error) {
	n, err := newNamespace()
	if err != nil {
		return nil, err
	}
	return &Machine{
		Name:      name,
		Cluster:   addressesIn(77, index),
		Dedicated: addressesIn(78, index),
		namespace: n,
	}, nil
}

func (m *Machine) configureDevices(ctx context.Context) error {
	var commands strings.Builder
	commands.WriteString("link set lo up\n")
	for device, addresses := range map[string]Addresses{"eth0": m.Cluster, "eth1": m.Dedicated} {
		// No other machine has the address; duplicate detection would take a second.
		fmt.Fprintf(&commands, "address add %s/24 dev %s\naddress add %s/64 dev %s nodad\nlink set %s up\n",
			addresses.IPv4, device, addresses.IPv6, device, device)
	}
	return ipBatch(ctx, m.namespace, commands.String())
}

func (m *Machine) closeGuests() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, guest := range m.guests {
		guest.closeGuests()
	}
	for _, listener := range m.listeners {
		_ = listener.Close()
	}
	m.namespace.close()
}

// guestGateway and guestMAC are the next hop for all packets of a guest, as for pods with
// Calico.
const (
	guestGateway = "169.254.1.1"
	guestMAC     = "ee:ee:ee:ee:ee:ee"
)

// Attach returns a guest of the machine, like a pod of a node: the guest has one address,
// reaches all other machines through the named device, and ends with the machine. The
// caller cares for forwarding and for routes back.
func (m *Machine) Attach(ctx context.Context, name, device string, address netip.Addr) (*Machine, error) {
	n, err := newNamespace()
	if err != nil {
		return nil, err
	}
	guest := &Machine{Name: name, Cluster: Addresses{IPv4: address}, namespace: n}
	m.mu.Lock()
	m.guests = append(m.guests, guest)
	m.mu.Unlock()
	err = ipBatch(ctx, m.namespace, fmt.Sprintf("link add %[1]s address %[2]s type veth peer name eth0 netns %[3]s\nlink set %[1]s up\n",
		device, guestMAC, n.path))
	if err != nil {
		return nil, err
	}
	return guest, ipBatch(ctx, n, fmt.Sprintf("link set lo up\naddress add %[1]s/32 dev eth0\nlink set eth0 up\n"+
		"neighbour replace %[2]s lladdr %[3]s dev eth0 nud permanent\n"+
		"route add %[2]s dev eth0 scope link\nroute add default via %[2]s dev eth0\n",
		address, guestGateway, guestMAC))
}

// Start starts a command on the machine, in place of the command's own method. The command
// is killed when the network is closed or this process ends.
func (m *Machine) Start(cmd *exec.Cmd) error { return m.namespace.start(cmd) }

// Output runs a command on the machine to the end, and returns the output. The error quotes
// the standard error of the command.
func (m *Machine) Output(ctx context.Context, name string, args ...string) (string, error) {
	return runCommand(ctx, m.namespace, "", name, args...)
}

// Input is Output for a command with standard input.
func (m *Machine) Input(ctx context.Context, input, name string, args ...string) (string, error) {
	return runCommand(ctx, m.namespace, input, name, args...)
}

func runCommand(ctx context.Context, n *namespace, input, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := n.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
