// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// set returns a source that follows the cluster, and records that rules refer to the set.
func (r *hostResolver) set(name string) calico.Source {
	if _, known := r.sets[name]; !known {
		r.sets[name] = calico.Set{Name: name, Members: r.members(name)}
	}
	return calico.Source{Set: name}
}

// members maps a node, or another origin, to the networks for a set.
type members = map[string][]netip.Prefix

func (r *hostResolver) members(name string) members {
	if _, known := r.known[name]; !known {
		r.known[name] = r.find(name)
	}
	return r.known[name]
}

func (r *hostResolver) find(name string) members {
	members := members{}
	switch name {
	case calico.SetAPIServers:
		return r.addServers(members)
	case calico.SetControlPlane, calico.SetNodes:
		r.addServers(members)
		r.addLost(members, name)
	case calico.SetPods:
		return r.podNetworks()
	}
	for i := range r.snapshot.Nodes {
		node := &r.snapshot.Nodes[i]
		var prefixes []netip.Prefix
		if name == calico.SetNodes || r.ofControlPlane(node) {
			prefixes = r.addresses[i]
		}
		if len(prefixes) > 0 {
			members[node.Name] = prefixes
		}
	}
	if name == calico.SetControlPlane {
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
	written := r.written(set)
	for _, address := range r.SharedAddresses() {
		if slices.Contains(r.servers, address) || !slices.Contains(written, address) || letIn(members, address) {
			continue // the address of an API server is let in without a node
		}
		of := slices.IndexFunc(r.snapshot.Nodes, func(n corev1.Node) bool {
			return (set == calico.SetNodes || r.ofControlPlane(&n)) && state.ShowsAsInternal(&n, address)
		})
		if of >= 0 {
			name := r.snapshot.Nodes[of].Name
			members[name] = append(slices.Clone(members[name]), netip.PrefixFrom(address, address.BitLen()))
		}
	}
}

// letIn tells whether an address is among the members of a set.
func letIn(members members, address netip.Addr) bool {
	for _, prefixes := range members {
		if slices.Contains(prefixes, netip.PrefixFrom(address, address.BitLen())) {
			return true
		}
	}
	return false
}

// addShownServers adds the addresses of API servers that nodes outside of the set show. A
// control-plane node that has lost its label still runs its etcd.
func (r *hostResolver) addShownServers(members members) {
	for i := range r.snapshot.Nodes {
		node := &r.snapshot.Nodes[i]
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

// addLost adds the addresses of a set that no node shows any more, as long as some node
// shows no address. A lost address may belong to the silent node, and once shut out, the
// silent node could never show the address again.
func (r *hostResolver) addLost(members members, set string) {
	i := slices.IndexFunc(r.addresses, func(p []netip.Prefix) bool { return len(p) == 0 })
	if i < 0 {
		return
	}
	name := r.snapshot.Nodes[i].Name
	for _, address := range r.lost(set) {
		members[name] = append(members[name], netip.PrefixFrom(address, address.BitLen()))
	}
}

// lost returns the addresses of the policy's network set that no node shows now.
func (r *hostResolver) lost(set string) []netip.Addr {
	return slices.DeleteFunc(r.written(set), func(a netip.Addr) bool { return r.shown[a] })
}

// written returns the single addresses in the policy's network set, as written now.
func (r *hostResolver) written(name string) []netip.Addr {
	return writtenAddresses(r.policy.Name, name, r.snapshot.Calico)
}

// keepSets updates the sets in use by older rules alone. Nodes may keep older rules for
// long, and older rules too must let in a node that joins.
func (r *hostResolver) keepSets(hosts *Hosts) {
	if len(hosts.Older) == 0 {
		return
	}
	for _, name := range []string{calico.SetControlPlane, calico.SetNodes, calico.SetPods} {
		needed := !slices.ContainsFunc(hosts.Calico.Sets, func(s calico.Set) bool { return s.Name == name }) &&
			slices.ContainsFunc(r.snapshot.Calico.Sets, func(s v3.GlobalNetworkSet) bool {
				return s.Labels[v1alpha1.LabelPolicy] == r.policy.Name && s.Labels[calico.LabelPeer] == name
			})
		if members := r.members(name); needed && len(members) > 0 {
			hosts.Calico.Sets = append(slices.Clone(hosts.Calico.Sets), calico.Set{Name: name, Members: members})
		}
	}
}

// addServers adds the addresses of API servers that no node shows.
func (r *hostResolver) addServers(members members) members {
	for _, server := range r.hiddens {
		members[calico.SetAPIServers] = append(members[calico.SetAPIServers], netip.PrefixFrom(server, server.BitLen()))
	}
	return members
}
