// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net/netip"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// firstUnprivilegedPort is the first port that needs no right of root. No component of the
// control plane serves loopback at a lower port.
const firstUnprivilegedPort = 1024

// loopbackComponents are the components that a distribution has on loopback.
var loopbackComponents = []v1alpha1.PostureComponent{
	v1alpha1.PostureEtcd, v1alpha1.PostureEtcdPeer, v1alpha1.PostureScheduler, v1alpha1.PostureControllerManager,
}

// servesOnLoopback tells whether a target on loopback may be tried. Services on loopback
// trust every client, so that not even the operator may name others.
func servesOnLoopback(t v1alpha1.TLSTarget) bool {
	return (t.Address == "127.0.0.1" || t.Address == "::1") && t.Port >= firstUnprivilegedPort &&
		slices.Contains(loopbackComponents, t.Component)
}

// metadataServices are the addresses of metadata services of clouds that are not
// link-local: Azure's wire server, and AWS over IPv6.
var metadataServices = []netip.Addr{netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("fd00:ec2::254")}

func isMetadataService(address string) bool {
	parsed, err := netip.ParseAddr(address)
	return err == nil && slices.Contains(metadataServices, parsed.Unmap())
}
