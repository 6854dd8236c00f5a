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

// unreachable says that the policy would cut what must go on, as far as that can
// be told without looking at the policies of others.
func (r *hostResolver) unreachable() *Held {
	network := r.policy.Spec.Network
	restrictsAPIServer := network.Unlisted == v1alpha1.UnlistedDeny
	for _, component := range onHosts(r.policy) {
		restrictsAPIServer = restrictsAPIServer || component.Name == "apiServer"
		if r.addressesUnknown(component) {
			return &Held{
				Component: component.Name, Reason: v1alpha1.ReasonAddressesUnknown,
				Why: "it is not known which addresses the nodes have on interface " + component.Interface +
					", so that they would cut each other off: list these under spec.network.peers and in allowFrom",
			}
		}
	}
	if restrictsAPIServer && len(r.playing(v1alpha1.ExternalAdmin)) == 0 {
		return &Held{
			Component: "apiServer", Reason: v1alpha1.ReasonNoAdminPath,
			Why: "no peer says where the cluster is administered from: give one of spec.network.peers the role Admin",
		}
	}
	return nil
}

// addressesUnknown says that nodes must reach the component on an interface of
// its own, and that the policy does not say which addresses they have there: the
// cluster knows of those only if they are in the addressCIDR.
func (r *hostResolver) addressesUnknown(component v1alpha1.Component) bool {
	name, known := wellKnown[component.Name]
	hasPeer := slices.ContainsFunc(component.AllowFrom, func(p v1alpha1.PeerReference) bool { return p.Peer != "" })
	if component.Interface == "" || !known || hasPeer || len(r.profile.RequiredAt(name)) == 0 {
		return false
	}
	network, err := netip.ParsePrefix(string(component.AddressCIDR))
	if err != nil {
		return true
	}
	return slices.ContainsFunc(r.snapshot.Nodes, func(n corev1.Node) bool {
		return r.policy.Selects(&n) && !slices.ContainsFunc(state.NodeAddresses(&n), network.Contains)
	})
}

// foreignEndpoint returns the host endpoint of somebody else that has the place
// on the node that ours would take. Where ours is there already, it stays.
func foreignEndpoint(hosts calico.Hosts, node string, endpoints []v3.HostEndpoint) string {
	wanted := calico.Interfaces(hosts)
	foreign := ""
	for i := range endpoints {
		e := &endpoints[i]
		if e.Spec.Node != node || !slices.Contains(wanted, e.Spec.InterfaceName) {
			continue
		}
		if calico.Ours(e) {
			return ""
		}
		if foreign == "" {
			foreign = e.Name
		}
	}
	return foreign
}
