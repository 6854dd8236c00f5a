// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
)

// Setting returns the value that Felix takes on a node, and the name of the
// FelixConfiguration it is from: that of the node goes before the one for all,
// field by field. It is nil, and the name empty, where Felix takes its default.
func FelixSetting[T any](node string, configurations []v3.FelixConfiguration, field func(*v3.FelixConfigurationSpec) *T) (*T, string) {
	for _, wanted := range []string{calico.FelixConfigurationName(node), calico.FelixConfigurationDefault} {
		for i := range configurations {
			if configurations[i].Name != wanted {
				continue
			}
			if value := field(&configurations[i].Spec); value != nil {
				return value, wanted
			}
		}
	}
	return nil, ""
}

// outboundFailsafes are Felix's own (felix/config/config_params.go,
// FailsafeOutboundHostPorts).
var defaultOutboundFailsafes = []v3.ProtoPort{
	{Protocol: "udp", Port: 53}, {Protocol: "udp", Port: 67}, {Protocol: "tcp", Port: 179},
	{Protocol: "tcp", Port: 2379}, {Protocol: "tcp", Port: 2380}, {Protocol: "tcp", Port: 5473},
	{Protocol: "tcp", Port: 6443}, {Protocol: "tcp", Port: 6666}, {Protocol: "tcp", Port: 6667},
}

// felix is what the configuration of a node's Felix says.
type felixSettings struct {
	inbound, outbound failsafePorts
	ignoresIPv6       bool
	maybeNFTables     bool
	// unmodelled says why nothing can be told of the node.
	unmodelled string
}

// Unmodelled says why nothing can be told of what host endpoints do on a node, by
// the configuration of its Felix; empty if something can. With ebpf, that is because
// the node uses the eBPF dataplane, or may use it.
func WhyUnmodelled(node string, configurations []v3.FelixConfiguration) (why string, ebpf bool) {
	if v, name := FelixSetting(node, configurations, func(s *v3.FelixConfigurationSpec) *bool { return s.BPFEnabled }); v != nil && *v {
		return "Calico uses its eBPF dataplane (bpfEnabled of FelixConfiguration " + name + ")", true
	}
	if why, ebpf = unmodelledBySelector(configurations); ebpf {
		return why, true
	}
	for _, list := range []failsafePorts{inboundFailsafesOf(node, configurations), outboundFailsafesOf(node, configurations)} {
		for _, port := range list.ports {
			// A name that is no protocol: Felix writes rules that are refused.
			if !slices.Contains([]string{"tcp", "udp", "sctp"}, strings.ToLower(port.Protocol)) {
				why = "a failsafe port of " + list.source + " has the protocol " + port.Protocol + ", for which Felix writes rules that are refused"
			}
		}
	}
	return why, false
}

// bySelector is Unmodelled by configurations for the nodes that they select.
func unmodelledBySelector(configurations []v3.FelixConfiguration) (why string, ebpf bool) {
	for i := range configurations {
		f := &configurations[i]
		if !selectsNodes(f) {
			continue
		}
		switch s := &f.Spec; {
		case s.BPFEnabled != nil && *s.BPFEnabled:
			return "Calico may use its eBPF dataplane (bpfEnabled of FelixConfiguration " + f.Name +
				", whose nodeSelector is not looked up)", true
		case s.BPFEnabled != nil, s.IPv6Support != nil, s.NFTablesMode != nil,
			s.FailsafeInboundHostPorts != nil, s.FailsafeOutboundHostPorts != nil:
			why = "FelixConfiguration " + f.Name + " may be for the node: its nodeSelector is not looked up"
		}
	}
	return why, false
}

// selectsNodes says whether a configuration may be for the nodes that its
// nodeSelector selects (Calico v3.32). The types in use do not have that field: it
// shows in the list of who set which. Where there is no such list, it may be set.
func selectsNodes(f *v3.FelixConfiguration) bool {
	if f.Name == calico.FelixConfigurationDefault || calico.NodeOfFelixConfiguration(f.Name) != "" {
		return false
	}
	return len(f.ManagedFields) == 0 || slices.ContainsFunc(f.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.FieldsV1 != nil && strings.Contains(m.FieldsV1.GetRawString(), `"f:nodeSelector"`)
	})
}

// failsafes are open whatever a policy says.
type failsafePorts struct {
	ports  []v3.ProtoPort
	source string
}

func felixSettingsOf(node string, configurations []v3.FelixConfiguration) *felixSettings {
	f := &felixSettings{inbound: inboundFailsafesOf(node, configurations), outbound: outboundFailsafesOf(node, configurations)}
	if v, _ := FelixSetting(node, configurations, func(s *v3.FelixConfigurationSpec) *bool { return s.IPv6Support }); v != nil {
		f.ignoresIPv6 = !*v
	}
	if v, _ := FelixSetting(node, configurations, func(s *v3.FelixConfigurationSpec) *v3.NFTablesMode { return s.NFTablesMode }); v != nil {
		// With Auto, which is usual from v3.32 on, Felix does as the node's kube-proxy
		// does, which is not known here.
		f.maybeNFTables = *v != v3.NFTablesMode(v3.NFTablesModeDisabled)
	}
	f.unmodelled, _ = WhyUnmodelled(node, configurations)
	return f
}

func inboundFailsafesOf(node string, configurations []v3.FelixConfiguration) failsafePorts {
	return failsafesOf(node, configurations, calico.DefaultFailsafes,
		func(s *v3.FelixConfigurationSpec) *[]v3.ProtoPort { return s.FailsafeInboundHostPorts })
}

func outboundFailsafesOf(node string, configurations []v3.FelixConfiguration) failsafePorts {
	return failsafesOf(node, configurations, defaultOutboundFailsafes,
		func(s *v3.FelixConfigurationSpec) *[]v3.ProtoPort { return s.FailsafeOutboundHostPorts })
}

func failsafesOf(
	node string, configurations []v3.FelixConfiguration, defaults []v3.ProtoPort, field func(*v3.FelixConfigurationSpec) *[]v3.ProtoPort,
) failsafePorts {
	if list, name := FelixSetting(node, configurations, field); list != nil {
		return failsafePorts{ports: *list, source: "FelixConfiguration " + name}
	}
	return failsafePorts{ports: defaults, source: "Felix's defaults"}
}

// open says whether a port is open towards the other end: the sender of what
// comes in, the receiver of what goes out.
func (f failsafePorts) isOpenTo(flow *Flow, other netip.Addr) bool {
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
