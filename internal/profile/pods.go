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

// PodsFrom says from where the pods of a cluster get their addresses.
type PodsFrom struct {
	From Addressing
	// CIDRs are the networks, if the settings of the CNI list networks.
	CIDRs []string
	// Plugin is the common name of the plugin that connects the pods.
	Plugin string
}

// DetectPodNetworks returns from where pods get their addresses in a cluster with the
// CNI. The CNI may have been detected or set by hand.
func DetectPodNetworks(facts Facts, cni string) PodsFrom {
	carrier := cni
	for _, s := range pluginSigns(facts) {
		if slices.Contains(cloudPlugins, s.value) {
			carrier = s.value
		}
	}
	l, err := library()
	layer, known := l.findPlugin(carrier)
	if err != nil || !known {
		return PodsFrom{From: FromElsewhere}
	}
	pods := PodsFrom{From: layer.PodNetworks.From, Plugin: layer.Title}
	if carrier == cilium {
		pods.From, pods.CIDRs = ciliumPodNetworks(facts.ConfigMaps[ciliumConfig])
	}
	return pods
}

// ciliumPodNetworks reads Cilium's settings
// (https://docs.cilium.io/en/stable/network/concepts/ipam/).
func ciliumPodNetworks(settings map[string]string) (Addressing, []string) {
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
				return FromElsewhere, nil // the networks of one family are not enough
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
