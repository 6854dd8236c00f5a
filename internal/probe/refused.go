// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net/netip"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// metadataAddress is where clouds tell a machine about itself: the one link-local
// address that profiles name, because what leaves a node may be cut by policies.
var metadataAddress = netip.MustParseAddr("169.254.169.254")

// Refused says whether a target is never tried, whoever asks: observers connect from
// the network of their node, where loopback and link-local addresses are services that
// trust whoever reaches them. No target of the operator's is one but the cloud's
// metadata service.
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
