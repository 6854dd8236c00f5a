// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// checkRenderable refuses input whose rendered form would have another meaning: a rule
// without a source allows every sender, a rule without ports denies every port, and a set
// without members allows no sender.
func checkRenderable(h backend.Hosts) error {
	members := map[string]int{}
	for _, set := range h.Sets {
		for _, prefixes := range set.Members {
			members[set.Name] += len(prefixes)
		}
	}
	for _, node := range h.Nodes {
		if len(node.Addresses) == 0 {
			return fmt.Errorf("node %s has no address: its own traffic to itself could not be allowed", node.Name)
		}
	}
	for _, component := range h.Components {
		if len(component.Ports) == 0 {
			return fmt.Errorf("component %s has no port: list its ports", component.Name)
		}
		if len(component.From) == 0 && !component.RequiredOnly {
			return fmt.Errorf("component %s has no source: a rule that allows nobody is never written", component.Name)
		}
		if set := emptySet(component.From, members); set != "" {
			return fmt.Errorf("component %s: %s stands for no address now, and a rule that allows nobody is never written",
				component.Name, set)
		}
	}
	for _, flow := range h.Required {
		if set := emptySet(flow.From, members); set != "" {
			return fmt.Errorf("required flow %s: %s stands for no address now, so that the flow would be cut", flow.Name, set)
		}
	}
	return nil
}

// emptySet returns the first set in the sources that has no members.
func emptySet(sources []backend.Source, members map[string]int) string {
	for _, source := range sources {
		if source.Set != "" && members[source.Set] == 0 {
			return source.Set
		}
	}
	return ""
}
