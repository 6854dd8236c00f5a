// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// Setting returns the value that Felix takes on a node, and the name of the
// FelixConfiguration it is from: that of the node goes before the one for all,
// field by field. It is nil, and the name empty, where Felix takes its default.
func Setting[T any](node string, there []v3.FelixConfiguration, field func(*v3.FelixConfigurationSpec) *T) (*T, string) {
	for _, wanted := range []string{calico.FelixConfigurationName(node), calico.FelixConfigurationDefault} {
		for i := range there {
			if there[i].Name != wanted {
				continue
			}
			if value := field(&there[i].Spec); value != nil {
				return value, wanted
			}
		}
	}
	return nil, ""
}

// outboundFailsafes are Felix's own (felix/config/config_params.go,
// FailsafeOutboundHostPorts).
var outboundFailsafes = []v3.ProtoPort{
	{Protocol: "udp", Port: 53}, {Protocol: "udp", Port: 67}, {Protocol: "tcp", Port: 179},
	{Protocol: "tcp", Port: 2379}, {Protocol: "tcp", Port: 2380}, {Protocol: "tcp", Port: 5473},
	{Protocol: "tcp", Port: 6443}, {Protocol: "tcp", Port: 6666}, {Protocol: "tcp", Port: 6667},
}

// felix is what the configuration of a node's Felix says.
type felix struct {
	in, out failsafes
	noIPv6  bool
	nft     bool
	// unmodelled says why nothing can be told of the node.
	unmodelled string
}

// failsafes are open whatever a policy says.
type failsafes struct {
	ports  []v3.ProtoPort
	source string
}

func felixOf(node string, there []v3.FelixConfiguration) *felix {
	f := &felix{
		in: failsafesOf(node, there, calico.DefaultFailsafes,
			func(s *v3.FelixConfigurationSpec) *[]v3.ProtoPort { return s.FailsafeInboundHostPorts }),
		out: failsafesOf(node, there, outboundFailsafes,
			func(s *v3.FelixConfigurationSpec) *[]v3.ProtoPort { return s.FailsafeOutboundHostPorts }),
	}
	if v, _ := Setting(node, there, func(s *v3.FelixConfigurationSpec) *bool { return s.IPv6Support }); v != nil {
		f.noIPv6 = !*v
	}
	if v, _ := Setting(node, there, func(s *v3.FelixConfigurationSpec) *v3.NFTablesMode { return s.NFTablesMode }); v != nil {
		f.nft = *v == v3.NFTablesMode(v3.NFTablesModeEnabled)
	}
	if v, name := Setting(node, there, func(s *v3.FelixConfigurationSpec) *bool { return s.BPFEnabled }); v != nil && *v {
		f.unmodelled = "eBPF (bpfEnabled of FelixConfiguration " + name + ") is not modelled"
	}
	for _, list := range []failsafes{f.in, f.out} {
		for _, port := range list.ports {
			// A name that is no protocol: Felix writes rules that are refused.
			if !slices.Contains([]string{"tcp", "udp", "sctp"}, strings.ToLower(port.Protocol)) {
				f.unmodelled = "a failsafe port of " + list.source + " has the protocol " + port.Protocol
			}
		}
	}
	return f
}

func failsafesOf(
	node string, there []v3.FelixConfiguration, otherwise []v3.ProtoPort, field func(*v3.FelixConfigurationSpec) *[]v3.ProtoPort,
) failsafes {
	if list, name := Setting(node, there, field); list != nil {
		return failsafes{ports: *list, source: "FelixConfiguration " + name}
	}
	return failsafes{ports: otherwise, source: "Felix's defaults"}
}

// open says whether a port is open towards the other end: the sender of what
// comes in, the receiver of what goes out.
func (f failsafes) open(flow *Flow, other netip.Addr) bool {
	for _, port := range f.ports {
		if port.Port != flow.Port || !strings.EqualFold(port.Protocol, flow.Protocol.String()) {
			continue
		}
		if port.Net == "" {
			return true
		}
		if net, ok := ParseNet(port.Net); ok && net.Contains(other) {
			return true
		}
	}
	return false
}

// ParseNet reads a network, or a single address.
func ParseNet(text string) (netip.Prefix, bool) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		return netip.PrefixFrom(address, address.BitLen()), err == nil
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err == nil
}
