// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"
	"strings"
)

// Keys of Cilium's settings.
const (
	matchMode           = "policy-cidr-match-mode"
	enablePolicy        = "enable-policy"
	enableNetworkPolicy = "enable-k8s-networkpolicy"
	ipam                = "ipam"
)

// PodsFrom says where pods have their addresses from.
type PodsFrom struct {
	From Addressing
	// CIDRs are the networks, where the settings of the CNI say them.
	CIDRs []string
	// Plugin is the name that people use of what connects the pods.
	Plugin string
}

// Pods returns where pods have their addresses from in a cluster with the CNI,
// whether that was found out or written by hand.
func Pods(facts Facts, cni string) PodsFrom {
	carrier := cni
	for _, s := range pluginSigns(facts) {
		if slices.Contains(ofClouds, s.value) {
			carrier = s.value
		}
	}
	l, err := library()
	layer, known := l.plugin(carrier)
	if err != nil || !known {
		return PodsFrom{From: FromElsewhere}
	}
	pods := PodsFrom{From: layer.PodNetworks.From, Plugin: layer.Title}
	if carrier == cilium {
		pods.From, pods.CIDRs = podsOfCilium(facts.ConfigMaps[ciliumConfig])
	}
	return pods
}

// podsOfCilium reads Cilium's settings
// (https://docs.cilium.io/en/stable/network/concepts/ipam/).
func podsOfCilium(settings map[string]string) (Addressing, []string) {
	switch settings[ipam] {
	case "kubernetes":
		return FromPodCIDRs, nil
	case "cluster-pool":
		var cidrs []string
		for _, family := range []struct{ on, pool string }{
			{"enable-ipv4", "cluster-pool-ipv4-cidr"}, {"enable-ipv6", "cluster-pool-ipv6-cidr"},
		} {
			networks := strings.FieldsFunc(settings[family.pool], func(r rune) bool { return r == ' ' || r == ',' })
			if settings[family.on] == "true" && len(networks) == 0 {
				return FromElsewhere, nil // a part would not do
			}
			if settings[family.on] != "false" {
				cidrs = append(cidrs, networks...)
			}
		}
		if len(cidrs) > 0 {
			return FromElsewhere, cidrs
		}
	}
	return FromElsewhere, nil
}
