// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"testing"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

func felix(name string, spec v3.FelixConfigurationSpec) v3.FelixConfiguration {
	return v3.FelixConfiguration{ObjectMeta: named(name), Spec: spec}
}

func TestFailsafePortsOfComponents(t *testing.T) {
	failsafes := func(ports ...v3.ProtoPort) v3.FelixConfigurationSpec {
		return v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &ports}
	}
	there := func(configurations ...v3.FelixConfiguration) calico.Live { return calico.Live{Felix: configurations} }
	found := func(message string) verify.Verdict {
		return verify.Verdict{Reason: v1alpha1.ReasonFailsafePorts, Message: message}
	}
	const bothEtcd = "tcp/2379 (component etcd), tcp/2380 (component etcd)"
	takeOut := "remove these ports from spec.failsafeInboundHostPorts there"
	from := func(networks ...string) func(*backend.Hosts) {
		return func(h *backend.Hosts) {
			h.Components[len(h.Components)-1].From = []backend.Source{{Prefixes: prefixes(networks...)}}
		}
	}
	required := func(flow backend.Flow) func(*backend.Hosts) {
		return func(h *backend.Hosts) { h.Required = append(h.Required, flow) }
	}
	kubeletPort := v3.ProtoPort{Protocol: "TCP", Port: 10250}
	within := func(port v3.ProtoPort, network string) v3.ProtoPort { port.Net = network; return port }

	check(t, map[string]struct {
		situation
		want verify.Verdict
	}{
		"A port that is not a failsafe port": {situation{hosts: kubelet()}, effective},
		"Felix's defaults open etcd": {
			situation{hosts: kubelet(etcd)},
			found("Failsafe ports of Felix (its defaults) leave " + bothEtcd +
				" open from everywhere on cp-1, cp-2, whatever a policy says: set spec.network.failsafe to Scope"),
		},
		"A configuration without a list leaves the defaults": {
			situation{hosts: kubelet(etcd), there: there(felix("default", v3.FelixConfigurationSpec{}))},
			found("Failsafe ports of Felix (its defaults) leave " + bothEtcd +
				" open from everywhere on cp-1, cp-2, whatever a policy says: set spec.network.failsafe to Scope"),
		},
		"Scoped failsafe ports do not":                  {situation{hosts: kubelet(etcd, scope)}, effective},
		"An empty list of failsafe ports opens no port": {situation{hosts: kubelet(etcd), there: there(felix("default", failsafes()))}, effective},
		"A list with other ports and protocols does not open the component": {
			situation{hosts: kubelet(etcd), there: there(felix("default", failsafes(v3.ProtoPort{Protocol: "tcp", Port: 22}, v3.ProtoPort{Protocol: "udp", Port: 2379})))},
			effective,
		},
		"A port that somebody added as a failsafe port, in capitals": {
			situation{hosts: kubelet(), there: there(felix("default", failsafes(kubeletPort)))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-1, cp-2, whatever a policy says: " + takeOut),
		},
		"Scope removes a foreign failsafe port, if it scopes another one": {
			situation{hosts: kubelet(etcd), there: there(felix("default", failsafes(kubeletPort)))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-1, cp-2, whatever a policy says: set spec.network.failsafe to Scope"),
		},
		"Scope has no effect where it scopes no port, on one node": {
			situation{hosts: kubelet(scope), there: there(felix("node.cp-1", failsafes(kubeletPort)))},
			found("Failsafe ports of Felix (FelixConfiguration node.cp-1) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-1, whatever a policy says: " + takeOut),
		},
		"Listed peers may connect anyway": {
			situation{
				hosts: kubelet(denyUnlisted, func(h *backend.Hosts) {
					h.Listed = []backend.Flow{{Name: "f", From: []backend.Source{{Prefixes: prefixes("10.99.0.0/24")}}, Traffic: traffic("tcp/10250")}}
				}),
				there: there(felix("default", failsafes(within(kubeletPort, "10.99.0.0/24")))),
			},
			effective,
		},
		"Scope has no effect where it scopes no port": {
			situation{hosts: kubelet(scope), there: there(felix("default", failsafes(kubeletPort)))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-1, cp-2, whatever a policy says: " + takeOut),
		},
		"The configuration of a node takes precedence over the default one": {
			situation{hosts: kubelet(), there: there(felix("default", failsafes(kubeletPort)), felix("node.cp-1", failsafes()))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-2, whatever a policy says: " + takeOut),
		},
		"Precedence is decided per field": {
			situation{hosts: kubelet(), there: there(felix("default", failsafes(kubeletPort)), felix("node.cp-1", v3.FelixConfigurationSpec{}))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-1, cp-2, whatever a policy says: " + takeOut),
		},
		"With Scope, a foreign value for a node is named": {
			situation{hosts: kubelet(etcd, scope), live: func(c *calico.Live) {
				c.Felix = []v3.FelixConfiguration{felix("node.cp-1", failsafes(v3.ProtoPort{Protocol: "tcp", Port: 2379})), c.Felix[1]}
			}},
			found("Failsafe ports of Felix (FelixConfiguration node.cp-1) leave tcp/2379 (component etcd)" +
				" open from everywhere on cp-1, whatever a policy says: " +
				"spec.network.failsafe is Scope, but another manager set spec.failsafeInboundHostPorts of these objects: remove the field there"),
		},
		"With Scope, an outstanding write is reported": {
			situation{hosts: kubelet(etcd, scope), live: func(c *calico.Live) { c.Felix = c.Felix[1:] }},
			found("Failsafe ports of Felix (its defaults) leave " + bothEtcd + " open from everywhere on cp-1, whatever a policy says: " +
				"spec.network.failsafe is Scope, but the FelixConfigurations of these nodes are not written: see the condition Programmed"),
		},
		"A failsafe port for a network that may connect anyway opens no port": {
			situation{hosts: kubelet(), there: there(felix("default", failsafes(
				within(kubeletPort, "10.77.0.0/25"), within(kubeletPort, "10.77.0.200"), within(kubeletPort, "10.77.0.11/32"))))},
			effective,
		},
		"A failsafe port for a larger network opens the port": {
			situation{hosts: kubelet(), there: there(felix("default", failsafes(within(kubeletPort, "10.0.0.0/8"), within(kubeletPort, "fd00::1/128"))))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from 10.0.0.0/8, fd00::1/128 on cp-1, cp-2, whatever a policy says: " + takeOut),
		},
		"An unreadable network counts as every address": {
			situation{hosts: kubelet(), there: there(felix("default", failsafes(within(kubeletPort, "x"))))},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from everywhere on cp-1, cp-2, whatever a policy says: " + takeOut),
		},
		"The senders of a required flow may connect anyway": {
			situation{
				hosts: kubelet(required(backend.Flow{Name: "f", From: []backend.Source{{Prefixes: prefixes("10.99.0.0/24")}}, Traffic: traffic("tcp/10000-11000")})),
				there: there(felix("default", failsafes(within(kubeletPort, "10.99.0.0/24")))),
			},
			effective,
		},
		"The senders of a required flow to another port may not": {
			situation{
				hosts: kubelet(required(backend.Flow{Name: "f", From: []backend.Source{{Prefixes: prefixes("10.99.0.0/24")}}, Traffic: traffic("tcp/10251")})),
				there: there(felix("default", failsafes(within(kubeletPort, "10.99.0.0/24")))),
			},
			found("Failsafe ports of Felix (FelixConfiguration default) leave tcp/10250 (component kubelet)" +
				" open from 10.99.0.0/24 on cp-1, cp-2, whatever a policy says: " + takeOut),
		},
		"A failsafe port of a component for everybody does no harm": {
			situation{hosts: kubelet(etcd, from("0.0.0.0/0", "::/0"))}, effective,
		},
		"A failsafe port of a component for all of IPv4 opens IPv6": {
			situation{hosts: kubelet(etcd, from("0.0.0.0/0"))},
			found("Failsafe ports of Felix (its defaults) leave " + bothEtcd +
				" open from everywhere on cp-1, cp-2, whatever a policy says: set spec.network.failsafe to Scope"),
		},
		"A failsafe port of a required flow for everybody does no harm": {
			situation{hosts: kubelet(etcd, required(backend.Flow{Name: "f", From: []backend.Source{{}}, Traffic: traffic("tcp/2379-2380")}))}, effective,
		},
		"Failsafe ports of no component are the emergency access, even where unlisted flows are denied": {
			situation{hosts: kubelet(denyUnlisted)}, effective,
		},
	})
}

func TestIPv6IsUnfilteredWhereFelixDoesNotHandleIt(t *testing.T) {
	on, off := v3.FelixConfigurationSpec{IPv6Support: new(bool)}, v3.FelixConfigurationSpec{IPv6Support: new(bool)}
	*on.IPv6Support = true
	dual := func() backend.Hosts {
		return kubelet(func(h *backend.Hosts) {
			h.Nodes = []backend.Node{node("cp-1", "10.77.0.11", "fd77::11"), node("cp-2", "10.77.0.12")}
		})
	}
	unfiltered := func(where string) verify.Verdict {
		return verify.Verdict{
			Reason: v1alpha1.ReasonBypassPossible,
			Message: "No policy filters traffic to the IPv6 addresses of cp-1: " +
				"set spec.ipv6Support to true in FelixConfiguration " + where,
		}
	}
	there := func(configurations ...v3.FelixConfiguration) calico.Live { return calico.Live{Felix: configurations} }
	check(t, map[string]struct {
		situation
		want verify.Verdict
	}{
		"Felix handles it by default":        {situation{hosts: dual()}, effective},
		"Felix handles it":                   {situation{hosts: dual(), there: there(felix("default", on))}, effective},
		"Felix does not":                     {situation{hosts: dual(), there: there(felix("default", off))}, unfiltered("default")},
		"Felix does not, but no node has it": {situation{hosts: kubelet(), there: there(felix("default", off))}, effective},
		"Felix does on the node":             {situation{hosts: dual(), there: there(felix("default", off), felix("node.cp-1", on))}, effective},
		"Felix does not on the node":         {situation{hosts: dual(), there: there(felix("default", on), felix("node.cp-1", off))}, unfiltered("node.cp-1")},
		"Felix does not on another node":     {situation{hosts: dual(), there: there(felix("node.cp-2", off))}, effective},
	})
}
