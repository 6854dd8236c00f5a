// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// findUnfilteredIPv6 finds nodes with IPv6 addresses and a Felix that does not handle
// IPv6: no policy filters traffic to the IPv6 addresses.
func findUnfilteredIPv6(hosts plan.Hosts, live state.Calico) *Verdict {
	var nodes, causes []string
	for _, node := range hosts.Calico.Nodes {
		supported, cause := dataplane.FelixSetting(node.Name, live.Felix, func(s *v3.FelixConfigurationSpec) *bool { return s.IPv6Support })
		if supported == nil || *supported || !slices.ContainsFunc(node.Addresses, netip.Addr.Is6) {
			continue
		}
		nodes = append(nodes, node.Name)
		causes = appendUnique(causes, cause)
	}
	if len(nodes) == 0 {
		return nil
	}
	return &Verdict{
		Reason: v1alpha1.ReasonIPv6Unfiltered,
		Message: "No policy filters traffic to the IPv6 addresses of " + wording.ListNames(nodes) +
			": set spec.ipv6Support to true in FelixConfiguration " + wording.ListNames(causes),
	}
}
