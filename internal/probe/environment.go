// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net/netip"
	"os"
	"slices"
	"strings"
)

// addressVariables are set by the downward API, to one address or several with
// commas in between: packets of a pod have its own address, or that of its node
// where they are masqueraded.
var addressVariables = []string{"POD_IP", "POD_IPS", "HOST_IP", "HOST_IPS"}

// maxAddresses is how many addresses an observer may have.
const maxAddresses = 8

// EnvironmentAddresses returns the addresses that packets of this process may
// come from, sorted, as the environment variables POD_IP, POD_IPS, HOST_IP and
// HOST_IPS say. It returns none outside of a cluster: there nobody says.
func EnvironmentAddresses() []string {
	var addresses []netip.Addr
	for _, variable := range addressVariables {
		for field := range strings.SplitSeq(os.Getenv(variable), ",") {
			if address, err := netip.ParseAddr(strings.TrimSpace(field)); err == nil {
				addresses = append(addresses, address.Unmap())
			}
		}
	}
	return sortedAddresses(addresses)
}

// texts returns as many addresses as an observer may have, sorted.
func sortedAddresses(addresses []netip.Addr) []string {
	slices.SortFunc(addresses, netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	var texts []string
	for _, address := range addresses[:min(len(addresses), maxAddresses)] {
		texts = append(texts, address.String())
	}
	return texts
}
