// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// The label of host endpoints made by Calico
// (kube-controllers/pkg/controllers/node/auto_hep.go).
const (
	labelCreatedBy = "projectcalico.org/created-by"
	createdByAuto  = "calico-kube-controllers"
)

// endpointConflict is a foreign host endpoint where a managed endpoint is, or should
// be.
type endpointConflict struct {
	endpoint *v3.HostEndpoint
	rank     int // a lower rank voids more of the restrictions
	text     string
}

const (
	rankReplaces  = iota // no managed endpoint is on the node, or on the interface
	rankOverrides        // a managed endpoint has no effect on one interface
	rankVoid             // the foreign endpoint has no effect
)

// findForeignEndpoints finds foreign endpoints on protected nodes that govern an
// interface in place of a managed endpoint. Felix lets a single endpoint govern an
// interface (felix/dataplane/linux/endpoint_mgr.go, resolveHostEndpoints): an endpoint
// with the name or an address of the interface precedes an endpoint for every
// interface; of several, the alphabetically first name decides, silently.
//
// A foreign endpoint without effect is reported too: the author expects the endpoint to
// protect the node, and under an earlier name the endpoint would govern. An endpoint
// with addresses only governs the interface with one of the addresses. Kubernetes does
// not know all addresses of a node, so that beside a managed endpoint for every
// interface such an endpoint is always reported.
func findForeignEndpoints(hosts plan.Hosts, live calico.Live) *verify.Verdict {
	wanted := calico.EndpointInterfaces(hosts.Now)
	var conflicts []endpointConflict
	for _, node := range hosts.Now.Nodes {
		for i := range live.Endpoints {
			e := &live.Endpoints[i]
			if e.Spec.Node != node.Name || calico.IsManagedEndpoint(e) {
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
	message := "Foreign host endpoints are on protected nodes: " + wording.ListNames(texts)
	if automatic {
		message += ": Calico creates such endpoints, and recreates deleted endpoints: set spec.controllers.node.hostEndpoint.autoCreate of " +
			"KubeControllersConfiguration default to Disabled, and delete the endpoints of other authors"
	} else {
		message += ": delete these endpoints, or exclude the nodes from spec.nodeSelector"
	}
	return &verify.Verdict{Reason: v1alpha1.ReasonForeignHostEndpoint, Message: message}
}

// endpointConflictOf says how a foreign endpoint affects the managed endpoints of the
// interfaces. The occupant is the foreign endpoint with the name of a managed endpoint,
// which prevents all managed endpoints on the node; empty if there is none.
func endpointConflictOf(e *v3.HostEndpoint, wanted []string, occupant string) (endpointConflict, bool) {
	iface := e.Spec.InterfaceName
	switch {
	case e.Name == occupant:
		what := fmt.Sprintf("%s in the place of %s, so that the operator writes nothing for the node", e.Name, managedEndpointName(e, iface))
		return endpointConflict{e, rankReplaces, what}, true
	case slices.Contains(wanted, iface) && (occupant != "" || e.Name < managedEndpointName(e, iface)):
		return endpointConflict{e, rankReplaces, fmt.Sprintf("%s in the place of %s", e.Name, managedEndpointName(e, iface))}, true
	case slices.Contains(wanted, iface):
		return endpointConflict{e, rankVoid, fmt.Sprintf("%s (without effect, because %s exists)", e.Name, managedEndpointName(e, iface))}, true
	case iface == "":
		return endpointConflictByAddress(e, wanted)
	case iface != backend.EveryInterface && slices.Contains(wanted, backend.EveryInterface):
		return endpointConflict{e, rankOverrides, fmt.Sprintf("%s (in the place of %s on %s)", e.Name, managedEndpointName(e, ""), iface)}, true
	}
	return endpointConflict{}, false
}

// endpointConflictByAddress is endpointConflictOf for an endpoint without
// interfaceName.
func endpointConflictByAddress(e *v3.HostEndpoint, wanted []string) (endpointConflict, bool) {
	addresses := wording.ListNames(e.Spec.ExpectedIPs)
	if addresses == "" {
		return endpointConflict{}, false // governs no interface
	}
	if slices.Contains(wanted, backend.EveryInterface) {
		text := fmt.Sprintf("%s (in the place of %s on the interface with %s)", e.Name, managedEndpointName(e, ""), addresses)
		return endpointConflict{e, rankOverrides, text}, true
	}
	for _, iface := range wanted {
		if e.Name < managedEndpointName(e, iface) {
			text := fmt.Sprintf("%s (in the place of %s if %s has %s)", e.Name, managedEndpointName(e, iface), iface, addresses)
			return endpointConflict{e, rankOverrides, text}, true
		}
	}
	return endpointConflict{}, false
}

// managedEndpointName returns the name of the managed endpoint for the interface, on
// the node of the given endpoint.
func managedEndpointName(e *v3.HostEndpoint, iface string) string {
	return calico.EndpointName(e.Spec.Node, strings.TrimPrefix(iface, backend.EveryInterface))
}

// findMissingAddresses finds managed endpoints without some addresses of their node.
// The operator's rules do not need the addresses; foreign policies that select hosts
// do.
func findMissingAddresses(hosts plan.Hosts, live calico.Live) *verify.Verdict {
	if len(hosts.Addressless) > 0 {
		return &verify.Verdict{
			Reason: v1alpha1.ReasonAddressesUnknown,
			Message: "Nodes without status.addresses are not protected: " + wording.ListNames(hosts.Addressless) +
				": find out why the kubelet, or the cloud controller, does not set status.addresses",
		}
	}
	var missing []string
	for _, node := range hosts.Now.Nodes {
		i := slices.IndexFunc(live.Endpoints, func(e v3.HostEndpoint) bool {
			return e.Name == calico.EndpointName(node.Name, "") && e.Spec.InterfaceName == backend.EveryInterface
		})
		if i < 0 {
			continue // the condition Programmed reports the missing endpoint
		}
		if lacks := missingAddresses(node.Addresses, live.Endpoints[i].Spec.ExpectedIPs); len(lacks) > 0 {
			missing = append(missing, fmt.Sprintf("%s of HostEndpoint %s", strings.Join(lacks, " and "), live.Endpoints[i].Name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &verify.Verdict{
		Reason: v1alpha1.ReasonAddressesUnknown,
		Message: "Addresses of nodes are not in spec.expectedIPs: " + wording.ListNames(missing) +
			", so that policies that select these hosts as sources do not match these addresses: " +
			"let the operator write this field (mode Enforce, and no other writer of the field)",
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
