// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// FelixSetting returns the value of a setting on a node, and the name of the
// FelixConfiguration with the value. The configuration of the node precedes the default
// configuration, field by field. The value is nil and the name empty where Felix uses
// its default.
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

// defaultOutboundFailsafes are the defaults of Felix (felix/config/config_params.go,
// FailsafeOutboundHostPorts).
var defaultOutboundFailsafes = []v3.ProtoPort{
	{Protocol: "udp", Port: 53}, {Protocol: "udp", Port: 67}, {Protocol: "tcp", Port: 179},
	{Protocol: "tcp", Port: 2379}, {Protocol: "tcp", Port: 2380}, {Protocol: "tcp", Port: 5473},
	{Protocol: "tcp", Port: 6443}, {Protocol: "tcp", Port: 6666}, {Protocol: "tcp", Port: 6667},
}

// felixSettings are the settings of Felix on a node.
type felixSettings struct {
	inbound, outbound failsafePorts
	ignoresIPv6       bool
	maybeNFTables     bool
	// unmodelled says why the model cannot judge the node; empty if the model can.
	unmodelled string
}

// WhyUnmodelled says why the settings of Felix on a node prevent any judgement of host
// endpoints on the node; empty if the model can judge. ebpf says that the reason is the
// eBPF dataplane, which the node uses or may use.
func WhyUnmodelled(node string, configurations []v3.FelixConfiguration) (why string, ebpf bool) {
	if v, name := FelixSetting(node, configurations, func(s *v3.FelixConfigurationSpec) *bool { return s.BPFEnabled }); v != nil && *v {
		return "Calico uses its eBPF dataplane (bpfEnabled of FelixConfiguration " + name + ")", true
	}
	if why, ebpf = unmodelledBySelector(configurations); ebpf {
		return why, true
	}
	for _, list := range []failsafePorts{inboundFailsafesOf(node, configurations), outboundFailsafesOf(node, configurations)} {
		for _, port := range list.ports {
			// For a name that is not a protocol, Felix writes rules that the kernel
			// refuses.
			if !slices.Contains([]string{"tcp", "udp", "sctp"}, strings.ToLower(port.Protocol)) {
				why = "a failsafe port of " + list.source + " has the protocol " + port.Protocol +
					"; the kernel refuses the rules of Felix for such a port"
			}
		}
	}
	return why, false
}

// unmodelledBySelector is WhyUnmodelled for configurations with a nodeSelector.
func unmodelledBySelector(configurations []v3.FelixConfiguration) (why string, ebpf bool) {
	for i := range configurations {
		f := &configurations[i]
		if !selectsNodes(f) {
			continue
		}
		switch s := &f.Spec; {
		case s.BPFEnabled != nil && *s.BPFEnabled:
			return "Calico may use its eBPF dataplane (bpfEnabled of FelixConfiguration " + f.Name +
				", whose nodeSelector the operator does not evaluate)", true
		case s.BPFEnabled != nil, s.IPv6Support != nil, s.NFTablesMode != nil,
			s.FailsafeInboundHostPorts != nil, s.FailsafeOutboundHostPorts != nil:
			why = "FelixConfiguration " + f.Name + " may apply to the node: the operator does not evaluate its nodeSelector"
		}
	}
	return why, false
}

// selectsNodes says whether a configuration may have a nodeSelector (Calico v3.32). The
// Go types in use do not have the field; managedFields of the object shows the field.
// An object without managedFields may have the field.
func selectsNodes(f *v3.FelixConfiguration) bool {
	if f.Name == calico.FelixConfigurationDefault || calico.NodeOfFelixConfiguration(f.Name) != "" {
		return false
	}
	return len(f.ManagedFields) == 0 || slices.ContainsFunc(f.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.FieldsV1 != nil && strings.Contains(m.FieldsV1.GetRawString(), `"f:nodeSelector"`)
	})
}

// failsafePorts are open whatever a policy says.
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
		// Auto is the default from v3.32 on: Felix then uses nftables if kube-proxy on
		// the node does. The mode of kube-proxy is unknown here.
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

// isOpenTo says whether a failsafe port lets the flow through. The other end is the
// sender of an incoming flow, and the receiver of an outgoing flow.
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
