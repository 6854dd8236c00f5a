// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// guard exempts Felix's own connections on a machine's loopback from the machine's
// policies. On a real node the API server is elsewhere, and tests are about policies that
// cut the API server off. Here the API server is reached through loopback, and a Felix
// without these connections could never remove the policy again. 0x10000 is the mark of
// packets that Felix's own chains have already accepted.
const guard = `table inet cpnp-testbed {
	chain input {
		type filter hook input priority -10;
		iifname "lo" tcp dport { %[1]s, %[2]s } meta mark set meta mark or 0x10000
		iifname "lo" tcp sport { %[1]s, %[2]s } meta mark set meta mark or 0x10000
	}
	chain output {
		type filter hook output priority -10;
		oifname "lo" tcp dport { %[1]s, %[2]s } meta mark set meta mark or 0x10000
		oifname "lo" tcp sport { %[1]s, %[2]s } meta mark set meta mark or 0x10000
	}
}
`

// reachAPI makes the API server's address, on the host machine's loopback, reachable on the
// other machine too, under all policies of the other machine.
func (c *Calico) reachAPI(ctx context.Context, m *network.Machine) (io.Closer, error) {
	server, err := url.Parse(c.cp.Config.Host)
	if err != nil {
		return nil, err
	}
	address := server.Host
	if server.Scheme == "" { // a bare address is allowed there too
		address = c.cp.Config.Host
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	if _, err := m.Input(ctx, fmt.Sprintf(guard, port, healthPort), "nft", "-f", "-"); err != nil {
		return nil, err
	}
	return m.Serve(address, relayConnections(address))
}

// relayConnections connects each connection to the address, from this machine.
func relayConnections(address string) func(net.Conn) {
	return func(inside net.Conn) {
		outside, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer outside.Close()
		go func() {
			_, _ = io.Copy(outside, inside)
			_ = outside.Close()
		}()
		_, _ = io.Copy(inside, outside)
	}
}
