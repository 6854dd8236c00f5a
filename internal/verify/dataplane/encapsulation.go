// SPDX-License-Identifier: Apache-2.0

package dataplane

import v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

// What Felix lets through between nodes by itself, before any policy, if the
// cluster uses it (felix/rules/static.go, filterInputChain).
const ipip Protocol = 4

const (
	vxlanPort       = 4789
	wireguardPort   = 51820
	wireguardPortV6 = 51821
)

type settings = v3.FelixConfigurationSpec

// encapsulated decides about what carries the traffic of workloads.
func (j *judgement) encapsulated(where at) (result outcomes, decided bool) {
	v4 := j.flow.To.Is4()
	switch {
	case j.flow.Protocol == ipip && v4 && j.on(where, func(s *settings) *bool { return s.IPIPEnabled }, j.w.pooled(ipipMode)):
		return j.known(where, "IPIP"), true
	case j.flow.Protocol != UDP:
		return outcomes{}, false
	case j.port(where, func(s *settings) *int { return s.VXLANPort }, vxlanPort) &&
		j.on(where, func(s *settings) *bool { return s.VXLANEnabled }, j.w.pooled(vxlanMode)):
		return j.known(where, "VXLAN"), true
	case v4 && j.port(where, func(s *settings) *int { return s.WireguardListeningPort }, wireguardPort):
		return j.known(where, "WireGuard"), j.on(where, func(s *settings) *bool { return s.WireguardEnabled }, false)
	case !v4 && j.port(where, func(s *settings) *int { return s.WireguardListeningPortV6 }, wireguardPortV6):
		return j.known(where, "WireGuard"), j.on(where, func(s *settings) *bool { return s.WireguardEnabledV6 }, false)
	}
	return outcomes{}, false
}

// port says whether the flow is to a port that may be configured.
func (j *judgement) port(where at, field func(*settings) *int, otherwise int) bool {
	if value, _ := Setting(where.host.Name, j.w.configurations, field); value != nil {
		otherwise = *value
	}
	return int(j.flow.Port) == otherwise
}

func (j *judgement) on(where at, field func(*settings) *bool, otherwise bool) bool {
	if value, _ := Setting(where.host.Name, j.w.configurations, field); value != nil {
		return *value
	}
	return otherwise
}

// known is sure if the other end is a node: which of its addresses Felix knows
// it by, and who else is let in, is not told.
func (j *judgement) known(where at, what string) outcomes {
	other := j.flow.From
	if where.direction == egress {
		other = j.flow.To
	}
	if j.w.owners[other] == nil {
		return doubt(where.because("Felix itself decides about encapsulated traffic (%s), and %s is no known node's", what, other))
	}
	return allow(where.because("Felix lets encapsulated traffic (%s) through between nodes", what))
}

func vxlanMode(s *v3.IPPoolSpec) bool {
	return s.VXLANMode == v3.VXLANModeAlways || s.VXLANMode == v3.VXLANModeCrossSubnet
}

func ipipMode(s *v3.IPPoolSpec) bool {
	return s.IPIPMode == v3.IPIPModeAlways || s.IPIPMode == v3.IPIPModeCrossSubnet
}

func (w *World) pooled(mode func(*v3.IPPoolSpec) bool) bool {
	for i := range w.pools {
		if mode(&w.pools[i].Spec) {
			return true
		}
	}
	return false
}
