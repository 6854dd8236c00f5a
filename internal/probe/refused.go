// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// metadataAddress is the address of the metadata service of clouds: the only link-local
// address in profiles, because policies may cut the traffic of a node to the service.
var metadataAddress = netip.MustParseAddr("169.254.169.254")

// IsRefused tells whether a target is never tried, for any requester. Observers connect
// from the network of the node, where services on loopback and link-local addresses trust
// every client. The operator requests no such target except the metadata service of the
// cloud.
func IsRefused(target v1alpha1.ProbeTarget) bool {
	address, err := netip.ParseAddr(target.Address)
	if err != nil || address.Zone() != "" {
		return true
	}
	address = address.Unmap()
	if address == metadataAddress {
		return target.Port != 80 || target.Protocol != v1alpha1.ProbeTCP
	}
	return address.IsLoopback() || address.IsLinkLocalUnicast() || address.IsUnspecified() || address.IsMulticast()
}
