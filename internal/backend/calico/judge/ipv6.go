// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// findUnfilteredIPv6 finds nodes with IPv6 addresses and a Felix that does not handle
// IPv6: no policy filters traffic to the IPv6 addresses.
func findUnfilteredIPv6(hosts plan.Hosts, live calico.Live) *verify.Verdict {
	var nodes, causes []string
	for _, node := range hosts.Now.Nodes {
		supported, cause := dataplane.FelixSetting(node.Name, live.Felix, func(s *v3.FelixConfigurationSpec) *bool { return s.IPv6Support })
		if supported == nil || *supported || !slices.ContainsFunc(node.Addresses, netip.Addr.Is6) {
			continue
		}
		nodes = append(nodes, node.Name)
		causes = wording.AppendUnique(causes, cause)
	}
	if len(nodes) == 0 {
		return nil
	}
	return &verify.Verdict{
		Reason: v1alpha1.ReasonBypassPossible,
		Message: "No policy filters traffic to the IPv6 addresses of " + wording.ListNames(nodes) +
			": set spec.ipv6Support to true in FelixConfiguration " + wording.ListNames(causes),
	}
}
