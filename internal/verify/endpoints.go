// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// The label of endpoints that Calico itself makes
// (kube-controllers/pkg/controllers/node/auto_hep.go).
const (
	labelCreatedBy = "projectcalico.org/created-by"
	createdByAuto  = "calico-kube-controllers"
)

// rival is an endpoint of somebody else where one of ours is, or should be.
type endpointConflict struct {
	endpoint *v3.HostEndpoint
	rank     int // how much of ours is void: the lower, the more
	text     string
}

const (
	rankReplaces = iota // nothing of ours is on the node, or on the interface
	rankOverrides
	rankVoid
)

// foreignEndpoints finds endpoints of others on protected nodes that govern an
// interface in the place of ours. Felix lets one endpoint govern an interface
// (felix/dataplane/linux/endpoint_mgr.go, resolveHostEndpoints): one that names
// the interface, or one of its addresses, goes before one for every interface;
// of several, the alphabetically first name decides, silently.
//
// An endpoint that loses against ours is reported too: whoever made it believes
// that it protects the node, and with the next name it would. One that gives
// addresses only governs the interface that has one of them. Kubernetes does
// not know all addresses of a node, so that beside an endpoint of ours for
// every interface it is reported whatever its addresses are.
func findForeignEndpoints(hosts plan.Hosts, live state.Calico) *Verdict {
	wanted := calico.Interfaces(hosts.Calico)
	var conflicts []endpointConflict
	for _, node := range hosts.Calico.Nodes {
		for i := range live.Endpoints {
			e := &live.Endpoints[i]
			if e.Spec.Node != node.Name || calico.Ours(e) {
				continue
			}
			if r, is := endpointConflictOf(e, wanted, hosts.Foreign[node.Name]); is {
				conflicts = append(conflicts, r)
			}
		}
	}
	if len(conflicts) == 0 {
		return nil
	}
	slices.SortStableFunc(conflicts, func(a, b endpointConflict) int { return cmp.Compare(a.rank, b.rank) })
	texts, automatic := make([]string, 0, len(conflicts)), false
	for _, r := range conflicts {
		texts = append(texts, r.text)
		automatic = automatic || r.endpoint.Labels[labelCreatedBy] == createdByAuto
	}
	message := "Host endpoints that are not the operator's are on protected nodes: " + wording.Names(texts)
	if automatic {
		message += ": Calico makes such endpoints, and makes them anew: set spec.controllers.node.hostEndpoint.autoCreate of " +
			"KubeControllersConfiguration default to Disabled, and delete those that others made"
	} else {
		message += ": delete them, or take the nodes out of spec.nodeSelector"
	}
	return &Verdict{Reason: v1alpha1.ReasonForeignHostEndpoint, Message: message}
}

// rivalOf says how an endpoint of somebody else meets ours for the interfaces.
// There is none of ours on the node if an endpoint has its place.
func endpointConflictOf(e *v3.HostEndpoint, wanted []string, occupant string) (endpointConflict, bool) {
	iface := e.Spec.InterfaceName
	switch {
	case e.Name == occupant:
		what := fmt.Sprintf("%s in the place of %s, so that the operator leaves the node alone", e.Name, managedEndpointName(e, iface))
		return endpointConflict{e, rankReplaces, what}, true
	case slices.Contains(wanted, iface) && (occupant != "" || e.Name < managedEndpointName(e, iface)):
		return endpointConflict{e, rankReplaces, fmt.Sprintf("%s in the place of %s", e.Name, managedEndpointName(e, iface))}, true
	case slices.Contains(wanted, iface):
		return endpointConflict{e, rankVoid, fmt.Sprintf("%s (void, because %s is there)", e.Name, managedEndpointName(e, iface))}, true
	case iface == "":
		return endpointConflictByAddress(e, wanted)
	case iface != calico.EveryInterface && slices.Contains(wanted, calico.EveryInterface):
		return endpointConflict{e, rankOverrides, fmt.Sprintf("%s (in the place of %s on %s)", e.Name, managedEndpointName(e, ""), iface)}, true
	}
	return endpointConflict{}, false
}

// rivalByAddress is rivalOf an endpoint that names no interface.
func endpointConflictByAddress(e *v3.HostEndpoint, wanted []string) (endpointConflict, bool) {
	addresses := wording.Names(e.Spec.ExpectedIPs)
	if addresses == "" {
		return endpointConflict{}, false // it governs nothing
	}
	if slices.Contains(wanted, calico.EveryInterface) {
		return endpointConflict{e, rankOverrides, fmt.Sprintf("%s (in the place of %s on the interface with %s)", e.Name, managedEndpointName(e, ""), addresses)}, true
	}
	for _, iface := range wanted {
		if e.Name < managedEndpointName(e, iface) {
			return endpointConflict{e, rankOverrides, fmt.Sprintf("%s (in the place of %s if %s has %s)", e.Name, managedEndpointName(e, iface), iface, addresses)}, true
		}
	}
	return endpointConflict{}, false
}

// ourName returns the name of our endpoint for the interface of the node that the
// endpoint is for.
func managedEndpointName(e *v3.HostEndpoint, iface string) string {
	return calico.EndpointName(e.Spec.Node, strings.TrimPrefix(iface, calico.EveryInterface))
}

// addressesMissing finds endpoints of ours that do not have all addresses of
// their node. Our own rules do not need them; policies of others that select
// hosts do.
func findMissingAddresses(hosts plan.Hosts, live state.Calico) *Verdict {
	if len(hosts.Addressless) > 0 {
		return &Verdict{
			Reason: v1alpha1.ReasonAddressesMissing,
			Message: "Nodes show no address, and are not protected: " + wording.Names(hosts.Addressless) +
				": see why their kubelet, or the cloud's controller, does not set status.addresses",
		}
	}
	var missing []string
	for _, node := range hosts.Calico.Nodes {
		i := slices.IndexFunc(live.Endpoints, func(e v3.HostEndpoint) bool {
			return e.Name == calico.EndpointName(node.Name, "") && e.Spec.InterfaceName == calico.EveryInterface
		})
		if i < 0 {
			continue // Programmed tells, if it should be there
		}
		if lacks := missingAddresses(node.Addresses, live.Endpoints[i].Spec.ExpectedIPs); len(lacks) > 0 {
			missing = append(missing, fmt.Sprintf("%s of HostEndpoint %s", strings.Join(lacks, " and "), live.Endpoints[i].Name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &Verdict{
		Reason: v1alpha1.ReasonAddressesMissing,
		Message: "Addresses of nodes are not in spec.expectedIPs: " + wording.Names(missing) +
			", so that policies that select these hosts as sources do not know them by these addresses: " +
			"let the operator write this field (mode Enforce, and nobody else setting it)",
	}
}

func missingAddresses(addresses []netip.Addr, expected []string) []string {
	var lacks []string
	for _, address := range addresses {
		if !slices.ContainsFunc(expected, func(text string) bool {
			parsed, err := netip.ParseAddr(text)
			return err == nil && parsed.Unmap() == address
		}) {
			lacks = append(lacks, address.String())
		}
	}
	return lacks
}
