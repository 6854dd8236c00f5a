// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net/netip"
	"os"
	"slices"
	"strings"
)

// addressVariables are environment variables set by the downward API to an address, or to
// several addresses separated by commas. Packets of a pod have the address of the pod, or
// where packets are masqueraded the address of the node.
var addressVariables = []string{"POD_IP", "POD_IPS", "HOST_IP", "HOST_IPS"}

// maxAddresses is the maximum number of addresses of an observer.
const maxAddresses = 8

// EnvironmentAddresses returns the possible source addresses of packets of the process,
// sorted, from the environment variables POD_IP, POD_IPS, HOST_IP and HOST_IPS. Outside of
// a cluster the variables are not set, and the result is empty.
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

// sortedAddresses returns the addresses sorted, without duplicates, and at most
// maxAddresses of them.
func sortedAddresses(addresses []netip.Addr) []string {
	slices.SortFunc(addresses, netip.Addr.Compare)
	addresses = slices.Compact(addresses)
	var texts []string
	for _, address := range addresses[:min(len(addresses), maxAddresses)] {
		texts = append(texts, address.String())
	}
	return texts
}
