// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// maxAPIServers is the limit of the status's schema.
const maxAPIServers = 32

// KnownAPIServers returns the sorted addresses of API servers, present and recently missing,
// from the EndpointSlice and from the policy's status. The status is needed because the
// EndpointSlice loses an API server as soon as the API server is down.
//
// An earlier version of the operator remembered API servers in a set of the backend. The
// set is read as long as the status has no list.
func KnownAPIServers(policy *Policy, snapshot state.Snapshot) []v1alpha1.APIServerAddress {
	known := map[string]v1alpha1.APIServerAddress{}
	remembered := policy.Status.APIServers
	if remembered == nil {
		for _, address := range writtenAddresses(policy.Name, backend.SetAPIServers, snapshot.OnHosts()) {
			remembered = append(remembered, v1alpha1.APIServerAddress{Address: address.String()})
		}
	}
	for _, server := range remembered {
		if server.MissingSince == nil && !snapshot.Now.IsZero() {
			now := metav1.NewTime(snapshot.Now).Rfc3339Copy()
			server.MissingSince = &now
		}
		if server.MissingSince == nil || snapshot.Now.Sub(server.MissingSince.Time) < timing.APIServerRemembered {
			known[server.Address] = server
		}
	}
	for _, server := range snapshot.Facts.APIServer {
		address := server.Addr().String()
		known[address] = v1alpha1.APIServerAddress{Address: address}
	}
	servers := make([]v1alpha1.APIServerAddress, 0, len(known))
	for _, server := range known {
		servers = append(servers, server)
	}
	slices.SortFunc(servers, func(a, b v1alpha1.APIServerAddress) int {
		return cmp.Or(compareMissing(a.MissingSince, b.MissingSince), cmp.Compare(a.Address, b.Address))
	})
	servers = servers[:min(len(servers), maxAPIServers)]
	slices.SortFunc(servers, func(a, b v1alpha1.APIServerAddress) int { return cmp.Compare(a.Address, b.Address) })
	return servers
}

func isMissingServer(server v1alpha1.APIServerAddress) bool { return server.MissingSince != nil }

// compareMissing puts API servers that are present first, and then the most recently
// missing.
func compareMissing(a, b *metav1.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return b.Compare(a.Time)
}

// writtenAddresses returns the single addresses in a policy's set, as written now.
func writtenAddresses(policy, name string, live backend.Live) []netip.Addr {
	var addresses []netip.Addr
	networks, _ := live.SetNetworks(policy, name)
	for _, prefix := range networks {
		if prefix.IsSingleIP() {
			addresses = append(addresses, prefix.Addr())
		}
	}
	return addresses
}
