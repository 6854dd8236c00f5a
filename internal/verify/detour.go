// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// detours finds components that are restricted on one interface, while the
// interface's addresses are reached through the others as well: a host answers
// to each of its addresses on every interface. Where all that is not listed is
// denied, the detour is denied with it.
func detours(hosts plan.Hosts, _ state.Calico) *Verdict {
	if hosts.Calico.DenyUnlisted {
		return nil
	}
	var open []string
	for _, component := range hosts.Calico.Components {
		if component.Interface != "" && !component.Address.IsValid() {
			open = append(open, fmt.Sprintf("%s (%s)", component.Name, component.Interface))
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &Verdict{
		Reason: v1alpha1.ReasonDetourOpen,
		Message: "Components are restricted on one interface, whose addresses are reached through other interfaces too: " +
			wording.Names(open) + ": set addressCIDR of the component to the network of the interface",
	}
}
