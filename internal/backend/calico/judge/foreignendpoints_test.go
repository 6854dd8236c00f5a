// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"net/netip"
	"strings"
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

func endpoint(name, node, iface string, expected ...string) v3.HostEndpoint {
	return v3.HostEndpoint{
		ObjectMeta: named(name), Spec: v3.HostEndpointSpec{Node: node, InterfaceName: iface, ExpectedIPs: expected},
	}
}

func automatic(node string) v3.HostEndpoint {
	e := endpoint(node+"-auto-hep", node, "*")
	e.Labels = map[string]string{"projectcalico.org/created-by": "calico-kube-controllers"}
	return e
}

func TestForeignEndpointsOnProtectedNodes(t *testing.T) {
	found := func(what string) verify.Verdict {
		return verify.Verdict{
			Reason: v1alpha1.ReasonForeignHostEndpoint,
			Message: "Foreign host endpoints are on protected nodes: " + what +
				": delete these endpoints, or exclude the nodes from spec.nodeSelector",
		}
	}
	made := func(what string) verify.Verdict {
		return verify.Verdict{
			Reason: v1alpha1.ReasonForeignHostEndpoint,
			Message: "Foreign host endpoints are on protected nodes: " + what +
				": Calico creates such endpoints, and recreates deleted endpoints: set spec.controllers.node.hostEndpoint.autoCreate of " +
				"KubeControllersConfiguration default to Disabled, and delete the endpoints of other authors",
		}
	}
	there := func(endpoints ...v3.HostEndpoint) calico.Live { return calico.Live{Endpoints: endpoints} }
	both := func() backend.Hosts { return kubelet(onInterface("eth1", ""), denyUnlisted) }
	check(t, map[string]struct {
		situation
		want verify.Verdict
	}{
		"An endpoint on an unprotected node is ignored": {
			situation{hosts: kubelet(), there: there(endpoint("a", "worker", "*"), endpoint("b", "", "*"))}, effective,
		},
		"An endpoint in the place of a managed one keeps the operator off the node": {
			situation{hosts: kubelet(), foreign: map[string]string{"cp-1": "theirs"}, there: there(endpoint("theirs", "cp-1", "*"))},
			found("theirs in the place of cpnp-cp-1, so that the operator writes nothing for the node"),
		},
		"Calico's own endpoints are reported with the way to switch them off": {
			situation{
				hosts: kubelet(), foreign: map[string]string{"cp-1": "cp-1-auto-hep", "cp-2": "cp-2-auto-hep"},
				there: there(automatic("cp-1"), automatic("cp-2")),
			},
			made("cp-1-auto-hep in the place of cpnp-cp-1, so that the operator writes nothing for the node, " +
				"cp-2-auto-hep in the place of cpnp-cp-2, so that the operator writes nothing for the node"),
		},
		"Beside an endpoint in the place of a managed one, another one is not void": {
			situation{hosts: kubelet(), foreign: map[string]string{"cp-1": "x"}, there: there(endpoint("x", "cp-1", "*"), endpoint("z", "cp-1", "*"))},
			found("x in the place of cpnp-cp-1, so that the operator writes nothing for the node, z in the place of cpnp-cp-1"),
		},
		"Of two endpoints for every interface, the alphabetically first wins": {
			situation{hosts: kubelet(), there: there(endpoint("a", "cp-1", "*"))}, found("a in the place of cpnp-cp-1"),
		},
		"An endpoint that loses is reported too, after those that win": {
			situation{hosts: kubelet(), there: there(endpoint("z", "cp-1", "*"), endpoint("a", "cp-2", "*"))},
			found("a in the place of cpnp-cp-2, z (without effect, because cpnp-cp-1 exists)"),
		},
		"An endpoint whose name begins like a managed one loses": {
			situation{hosts: kubelet(), there: there(endpoint("cpnq", "cp-1", "*"))}, found("cpnq (without effect, because cpnp-cp-1 exists)"),
		},
		"An endpoint on a named interface overrides the managed one for every interface, whatever its name": {
			situation{hosts: kubelet(), there: there(endpoint("z", "cp-1", "eth0"))}, found("z (in the place of cpnp-cp-1 on eth0)"),
		},
		"An endpoint with an address overrides the managed one for every interface": {
			situation{hosts: kubelet(), there: there(endpoint("z", "cp-1", "", "10.77.0.11"))},
			found("z (in the place of cpnp-cp-1 on the interface with 10.77.0.11)"),
		},
		"An endpoint with an address that Kubernetes does not know overrides it too": {
			situation{hosts: kubelet(), there: there(endpoint("z", "cp-1", "", "10.78.0.11"))},
			found("z (in the place of cpnp-cp-1 on the interface with 10.78.0.11)"),
		},
		"An endpoint with neither interface nor address has no effect": {
			situation{hosts: kubelet(), there: there(endpoint("a", "cp-1", ""))}, effective,
		},
		"On a managed named interface, the alphabetically first endpoint wins": {
			situation{hosts: both(), there: there(endpoint("a", "cp-1", "eth1"))}, found("a in the place of cpnp-cp-1-eth1"),
		},
		"On a managed named interface, a later endpoint is void": {
			situation{hosts: both(), there: there(endpoint("z", "cp-1", "eth1"))},
			found("z (without effect, because cpnp-cp-1-eth1 exists)"),
		},
		"Beside a managed named interface, foreign endpoints are ignored": {
			situation{hosts: alone(), there: there(endpoint("a", "cp-1", "eth0"), endpoint("b", "cp-1", "*"), endpoint("z", "cp-1", "", "10.77.0.11"))},
			detour,
		},
		"An endpoint with an address may be on the managed interface, and wins if it is the alphabetically first": {
			situation{hosts: alone(), there: there(endpoint("a", "cp-1", "", "10.78.0.11"))},
			verify.Verdict{
				Reason:  v1alpha1.ReasonForeignHostEndpoint,
				Message: found("a (in the place of cpnp-cp-1-eth1 if eth1 has 10.78.0.11)").Message + "; also found: BypassPossible",
			},
		},
		"Of more than three endpoints, three are named": {
			situation{hosts: kubelet(), there: there(endpoint("d", "cp-1", "eth0"), endpoint("e", "cp-1", "eth1"), endpoint("f", "cp-1", "eth2"), endpoint("g", "cp-1", "eth3"))},
			found("d (in the place of cpnp-cp-1 on eth0), e (in the place of cpnp-cp-1 on eth1), f (in the place of cpnp-cp-1 on eth2) and 1 more"),
		},
	})
}

// alone returns hosts that are protected on a single interface.
func alone() backend.Hosts { return kubelet(onInterface("eth1", "")) }

var detour = verify.Verdict{
	Reason: v1alpha1.ReasonBypassPossible,
	Message: "Components are restricted on one interface only, and the addresses of the interface are reachable through other interfaces too: " +
		"kubelet (eth1): set addressCIDR of the component to the network of the interface; for the other IP version " +
		"add a component with the same interface and ports",
}

func detourFor(what string) verify.Verdict {
	return verify.Verdict{Reason: detour.Reason, Message: strings.Replace(detour.Message, "kubelet (eth1)", what, 1)}
}

// dual gives a node addresses of both IP versions.
func dual(h *backend.Hosts) { h.Nodes[0] = node("cp-1", "10.77.0.11", "fd77::11") }

// also adds a component on an interface with addresses.
func also(device, addresses, ports string) func(*backend.Hosts) {
	return func(h *backend.Hosts) {
		h.Components = append(h.Components, backend.Component{
			Name: "also", Ports: traffic(ports), From: h.Components[0].From, Interface: device, Address: netip.MustParsePrefix(addresses),
		})
	}
}

func TestABypassIsOpenUnlessAddressesAreKnownOrUnlistedFlowsAreDenied(t *testing.T) {
	check(t, map[string]struct {
		situation
		want verify.Verdict
	}{
		"An interface without its addresses": {situation{hosts: alone()}, detour},
		"An interface without its addresses, and another component on every interface": {
			situation{hosts: kubelet(onInterface("eth1", ""), func(h *backend.Hosts) {
				h.Components = append(h.Components, backend.Component{Name: "x", Ports: traffic("tcp/1"), From: h.Components[0].From})
			})},
			detour,
		},
		"An interface with its addresses": {situation{hosts: kubelet(onInterface("eth1", "10.78.0.0/24"))}, effective},
		"An interface with addresses of one version, on nodes of both": {
			situation{hosts: kubelet(onInterface("eth1", "10.78.0.0/24"), dual)}, detourFor("kubelet (eth1, IPv6)"),
		},
		"An interface with addresses of the other version, on nodes of both": {
			situation{hosts: kubelet(onInterface("eth1", "fd78::/64"), dual)}, detourFor("kubelet (eth1, IPv4)"),
		},
		"An interface without its addresses, on nodes of both versions": {situation{hosts: kubelet(onInterface("eth1", ""), dual)}, detour},
		"Addresses of the version that no node has": {
			situation{hosts: kubelet(onInterface("eth1", "fd78::/64"))}, detour,
		},
		"Addresses of both versions, for the same ports": {
			situation{hosts: kubelet(onInterface("eth1", "10.78.0.0/24"), dual, also("eth1", "fd78::/64", "tcp/10250"))}, effective,
		},
		"Addresses of both versions, for some of the ports": {
			situation{hosts: kubelet(onInterface("eth1", "10.78.0.0/24"), dual, also("eth1", "fd78::/64", "tcp/10251"))},
			detourFor("kubelet (eth1, IPv6), also (eth1, IPv4)"),
		},
		"Addresses of the other version, for another interface": {
			situation{hosts: kubelet(onInterface("eth1", "10.78.0.0/24"), dual, also("eth2", "fd78::/64", "tcp/10250"))},
			detourFor("kubelet (eth1, IPv6), also (eth2, IPv4)"),
		},
		"Unlisted flows are denied": {situation{hosts: kubelet(onInterface("eth1", ""), denyUnlisted)}, effective},
	})
}

func TestManagedEndpointsHaveAllAddressesOfTheirNodes(t *testing.T) {
	missing := func(what string) verify.Verdict {
		return verify.Verdict{
			Reason: v1alpha1.ReasonAddressesUnknown,
			Message: "Addresses of nodes are not in spec.expectedIPs: " + what +
				", so that policies that select these hosts as sources do not match these addresses: " +
				"let the operator write this field (mode Enforce, and no other writer of the field)",
		}
	}
	set := func(addresses ...string) func(*calico.Live) {
		return func(c *calico.Live) { c.Endpoints[0].Spec.ExpectedIPs = addresses }
	}
	check(t, map[string]struct {
		situation
		want verify.Verdict
	}{
		"A missing endpoint is reported by Programmed": {
			situation{hosts: kubelet(dual), live: func(c *calico.Live) { c.Endpoints = nil }}, effective,
		},
		"All addresses are present, in another spelling, beside others": {
			situation{hosts: kubelet(dual), live: set("10.77.0.99", "FD77:0::11", "10.77.0.11")}, effective,
		},
		"One address is missing":            {situation{hosts: kubelet(dual), live: set("10.77.0.11")}, missing("fd77::11 of HostEndpoint cpnp-cp-1")},
		"The endpoint has no valid address": {situation{hosts: kubelet(dual), live: set("x")}, missing("10.77.0.11 and fd77::11 of HostEndpoint cpnp-cp-1")},
	})
}
