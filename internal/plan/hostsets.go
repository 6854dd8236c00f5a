// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// referToSet returns a source that follows the cluster, and records that rules refer to the set.
func (r *hostResolver) referToSet(name string) backend.Source {
	if _, known := r.sets[name]; !known {
		r.sets[name] = backend.Set{Name: name, Members: r.membersOf(name)}
	}
	return backend.Source{Set: name}
}

// members maps a node, or another origin, to the networks for a set.
type members = map[string][]netip.Prefix

func (r *hostResolver) membersOf(name string) members {
	if _, known := r.known[name]; !known {
		r.known[name] = r.findMembers(name)
	}
	return r.known[name]
}

func (r *hostResolver) findMembers(name string) members {
	members := members{}
	switch name {
	case backend.SetAPIServers:
		return r.addServers(members)
	case backend.SetControlPlane, backend.SetNodes:
		r.addServers(members)
		r.addNoLongerShown(members, name)
	case backend.SetPods:
		return r.podNetworks()
	}
	for i, node := range r.snapshot.Nodes {
		var prefixes []netip.Prefix
		if name == backend.SetNodes || r.ofControlPlane(node) {
			prefixes = r.addresses[i]
		}
		if len(prefixes) > 0 {
			members[node.Name] = prefixes
		}
	}
	if name == backend.SetControlPlane {
		r.addShownServers(members)
	}
	r.keepShared(members, name)
	return members
}

// keepShared keeps the addresses that a set contains now and that another node has come to
// show as well. A kubelet can show any address, and must not shut out the node with the
// real address. An external address does not stay, because many machines may share the
// external address of a NAT.
func (r *hostResolver) keepShared(members members, set string) {
	written := r.addressesInSet(set)
	for _, address := range r.SharedAddresses() {
		if slices.Contains(r.servers, address) || !slices.Contains(written, address) || membersContain(members, address) {
			continue // the address of an API server is let in without a node
		}
		of := slices.IndexFunc(r.snapshot.Nodes, func(n *corev1.Node) bool {
			return (set == backend.SetNodes || r.ofControlPlane(n)) && state.ShowsAsInternal(n, address)
		})
		if of >= 0 {
			name := r.snapshot.Nodes[of].Name
			members[name] = append(slices.Clone(members[name]), netip.PrefixFrom(address, address.BitLen()))
		}
	}
}

// membersContain tells whether an address is among the members of a set.
func membersContain(members members, address netip.Addr) bool {
	for _, prefixes := range members {
		if slices.Contains(prefixes, netip.PrefixFrom(address, address.BitLen())) {
			return true
		}
	}
	return false
}

// addShownServers adds the addresses of API servers on nodes outside of the set. A
// control-plane node without its label still runs etcd.
func (r *hostResolver) addShownServers(members members) {
	for i, node := range r.snapshot.Nodes {
		if _, in := members[node.Name]; in {
			continue
		}
		for _, prefix := range r.addresses[i] {
			if slices.Contains(r.servers, prefix.Addr()) {
				members[node.Name] = append(members[node.Name], prefix)
			}
		}
	}
}

// addNoLongerShown adds the addresses of a set that no node shows any more, as long as some node
// shows no address. A lost address may belong to the silent node, and once shut out, the
// silent node could never show the address again.
func (r *hostResolver) addNoLongerShown(members members, set string) {
	i := slices.IndexFunc(r.addresses, func(p []netip.Prefix) bool { return len(p) == 0 })
	if i < 0 {
		return
	}
	name := r.snapshot.Nodes[i].Name
	for _, address := range r.addressesNoLongerShown(set) {
		members[name] = append(members[name], netip.PrefixFrom(address, address.BitLen()))
	}
}

// addressesNoLongerShown returns the addresses of the policy's network set that no node shows now.
func (r *hostResolver) addressesNoLongerShown(set string) []netip.Addr {
	return slices.DeleteFunc(r.addressesInSet(set), func(a netip.Addr) bool { return r.shown[a] })
}

// addressesInSet returns the single addresses in the policy's network set, as written now.
func (r *hostResolver) addressesInSet(name string) []netip.Addr {
	return writtenAddresses(r.policy.Name, name, r.live)
}

// networksInSet returns the networks in the policy's set, as written now.
func (r *hostResolver) networksInSet(name string) []netip.Prefix {
	networks, _ := r.live.SetNetworks(r.policy.Name, name)
	return networks
}

// keepSets updates the sets in use by older rules alone. Nodes may keep older rules for
// long, and older rules too must let in a node that joins.
func (r *hostResolver) keepSets(hosts *Hosts) {
	if !hosts.OlderVersionsInUse() {
		return
	}
	for _, name := range []string{backend.SetControlPlane, backend.SetNodes, backend.SetPods} {
		needed := !slices.ContainsFunc(hosts.Now.Sets, func(s backend.Set) bool { return s.Name == name }) &&
			r.isSetWritten(name)
		if members := r.membersOf(name); needed && len(members) > 0 {
			hosts.Now.Sets = append(slices.Clone(hosts.Now.Sets), backend.Set{Name: name, Members: members})
		}
	}
}

// isSetWritten tells whether the policy's set of a name is written now.
func (r *hostResolver) isSetWritten(name string) bool {
	_, written := r.live.SetNetworks(r.policy.Name, name)
	return written
}

// addServers adds the addresses of API servers that no node shows.
func (r *hostResolver) addServers(members members) members {
	for _, server := range r.serversWithoutNode {
		members[backend.SetAPIServers] = append(members[backend.SetAPIServers], netip.PrefixFrom(server, server.BitLen()))
	}
	return members
}
