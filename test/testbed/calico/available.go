// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Available returns the reason why no [Cluster] can run here, or nil. Tests pass the result
// to [network.Need].
func Available(ctx context.Context) error {
	return network.Available(ctx,
		network.Program{Package: "nftables", Command: []string{"nft", "list", "tables"}},
		network.Program{Package: "iptables", Command: []string{"iptables-nft-save"}},
		network.Program{Package: "iptables", Command: []string{"ip6tables-nft-save"}},
		network.Program{Package: "ipset", Command: []string{"ipset", "list", "-name"}},
		network.Program{Package: "conntrack", Command: []string{"conntrack", "-L"}},
	)
}
