// SPDX-License-Identifier: Apache-2.0

package dataplane

import v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

// Felix itself lets encapsulated traffic between nodes through before any policy, if
// the cluster uses the encapsulation (felix/rules/static.go, filterInputChain).
const ipip Protocol = 4

const (
	vxlanPort       = 4789
	wireguardPort   = 51820
	wireguardPortV6 = 51821
)

type felixSpec = v3.FelixConfigurationSpec

// judgeEncapsulation decides about the packets that carry the traffic of workloads.
func (j *judgement) judgeEncapsulation(where checkpoint) (result outcomes, decided bool) {
	v4 := j.flow.To.Is4()
	switch {
	case j.flow.Protocol == ipip && v4 && j.isEnabled(where, func(s *felixSpec) *bool { return s.IPIPEnabled }, j.world.anyPoolUses(usesIPIP)):
		return j.encapsulationOutcome(where, "IPIP"), true
	case j.flow.Protocol != UDP:
		return outcomes{}, false
	case j.isToConfiguredPort(where, func(s *felixSpec) *int { return s.VXLANPort }, vxlanPort) &&
		j.isEnabled(where, func(s *felixSpec) *bool { return s.VXLANEnabled }, j.world.anyPoolUses(usesVXLAN)):
		return j.encapsulationOutcome(where, "VXLAN"), true
	case v4 && j.isToConfiguredPort(where, func(s *felixSpec) *int { return s.WireguardListeningPort }, wireguardPort):
		return j.encapsulationOutcome(where, "WireGuard"), j.isEnabled(where, func(s *felixSpec) *bool { return s.WireguardEnabled }, false)
	case !v4 && j.isToConfiguredPort(where, func(s *felixSpec) *int { return s.WireguardListeningPortV6 }, wireguardPortV6):
		return j.encapsulationOutcome(where, "WireGuard"), j.isEnabled(where, func(s *felixSpec) *bool { return s.WireguardEnabledV6 }, false)
	}
	return outcomes{}, false
}

// isToConfiguredPort says whether the flow is to the port of a setting, or to the
// default port.
func (j *judgement) isToConfiguredPort(where checkpoint, field func(*felixSpec) *int, port int) bool {
	if value, _ := FelixSetting(where.host.Name, j.world.felixConfigurations, field); value != nil {
		port = *value
	}
	return int(j.flow.Port) == port
}

func (j *judgement) isEnabled(where checkpoint, field func(*felixSpec) *bool, byDefault bool) bool {
	if value, _ := FelixSetting(where.host.Name, j.world.felixConfigurations, field); value != nil {
		return *value
	}
	return byDefault
}

// encapsulationOutcome is certain only if the other end is a node. The model does not have
// Felix's address for a node, nor the other senders that Felix lets in.
func (j *judgement) encapsulationOutcome(where checkpoint, name string) outcomes {
	other := j.flow.From
	if where.direction == egress {
		other = j.flow.To
	}
	if j.world.owners[other] == nil {
		return unknownBecause(where.newReason(
			"Felix itself decides about encapsulated traffic (%s), and no known node has the address %s", name, other))
	}
	return allowedBecause(where.newReason("Felix lets encapsulated traffic (%s) through between nodes", name))
}

func usesVXLAN(s *v3.IPPoolSpec) bool {
	return s.VXLANMode == v3.VXLANModeAlways || s.VXLANMode == v3.VXLANModeCrossSubnet
}

func usesIPIP(s *v3.IPPoolSpec) bool {
	return s.IPIPMode == v3.IPIPModeAlways || s.IPIPMode == v3.IPIPModeCrossSubnet
}

func (w *World) anyPoolUses(mode func(*v3.IPPoolSpec) bool) bool {
	for i := range w.pools {
		if mode(&w.pools[i].Spec) {
			return true
		}
	}
	return false
}
