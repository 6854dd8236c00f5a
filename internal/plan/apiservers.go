// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const (
	// apiServerMemory is for how long an API server that is gone keeps its place in
	// the control plane: longer than a machine is usually under repair.
	apiServerMemory = 7 * 24 * time.Hour
	// maxAPIServers is how many addresses the status may have (its schema).
	maxAPIServers = 32
)

// APIServers returns the addresses that API servers have, or had not long ago,
// sorted, as the policy's status tells them. The EndpointSlice forgets an API
// server as soon as it is down.
//
// Where the status does not tell yet, what an earlier version of the operator
// remembered in a set of Calico is taken over.
func APIServers(policy *Policy, snapshot state.Snapshot) []v1alpha1.APIServerAddress {
	known := map[string]v1alpha1.APIServerAddress{}
	remembered := policy.Status.APIServers
	if remembered == nil {
		for _, address := range writtenAddresses(policy.Name, calico.SetAPIServers, snapshot.Calico) {
			remembered = append(remembered, v1alpha1.APIServerAddress{Address: address.String()})
		}
	}
	for _, server := range remembered {
		if server.MissingSince == nil && !snapshot.Now.IsZero() {
			now := metav1.NewTime(snapshot.Now).Rfc3339Copy()
			server.MissingSince = &now
		}
		if server.MissingSince == nil || snapshot.Now.Sub(server.MissingSince.Time) < apiServerMemory {
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

func missing(server v1alpha1.APIServerAddress) bool { return server.MissingSince != nil }

// compareMissing puts what is there first, then what has been missing for the
// shortest time.
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

// writtenAddresses returns the single addresses that a set of a policy's has now.
func writtenAddresses(policy, name string, there state.Calico) []netip.Addr {
	var addresses []netip.Addr
	for _, prefix := range writtenNetworks(policy, name, there) {
		if prefix.IsSingleIP() {
			addresses = append(addresses, prefix.Addr())
		}
	}
	return addresses
}

// writtenNetworks returns all that a set of a policy's has now.
func writtenNetworks(policy, name string, there state.Calico) []netip.Prefix {
	var networks []netip.Prefix
	for i := range there.Sets {
		set := &there.Sets[i]
		if set.Labels[v1alpha1.LabelPolicy] != policy || set.Labels[calico.LabelPeer] != name {
			continue
		}
		for _, net := range set.Spec.Nets {
			if prefix, err := netip.ParsePrefix(net); err == nil {
				networks = append(networks, prefix)
			}
		}
	}
	return networks
}
