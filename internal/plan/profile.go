// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// wellKnown are the components on hosts that a policy calls by a name of its
// own, and what the profile calls them.
var wellKnown = map[string]string{
	"apiServer":         profile.ComponentAPIServer,
	"etcd":              "etcd",
	"kubelet":           "kubelet",
	"scheduler":         "kube-scheduler",
	"controllerManager": "kube-controller-manager",
}

// setByHand is the reason for a value that the spec gives.
const setByHand = "set in spec.profile"

// resolveProfile returns who must talk to whom in the policy's cluster, and
// what that was taken from. An error says what to set by hand.
func resolveProfile(policy *Policy, facts profile.Facts) (profile.Profile, *v1alpha1.ResolvedProfile, error) {
	given, found := policy.Spec.Profile, profile.Detect(facts)
	if given.Distribution != v1alpha1.DistributionAuto && given.Distribution != "" {
		found.Distribution = profile.Finding{Value: string(given.Distribution), Reason: setByHand}
	}
	if given.CNI != v1alpha1.CNIAuto && given.CNI != "" {
		found.CNI = profile.Finding{Value: string(given.CNI), Reason: setByHand}
	}
	overrides := profile.Overrides{APIServerPorts: found.APIServerPorts, Components: portsByHand(policy)}
	for _, port := range given.APIServerPorts {
		overrides.APIServerPorts = append(overrides.APIServerPorts, uint16(port))
	}
	slices.Sort(overrides.APIServerPorts)
	overrides.APIServerPorts = slices.Compact(overrides.APIServerPorts)
	for _, name := range given.AddOns {
		overrides.AddOns = append(overrides.AddOns, string(name))
	}
	resolved := &v1alpha1.ResolvedProfile{
		Distribution: found.Distribution.Value, DistributionReason: found.Distribution.Reason,
		CNI: found.CNI.Value, CNIReason: found.CNI.Reason,
	}
	for _, port := range overrides.APIServerPorts {
		resolved.APIServerPorts = append(resolved.APIServerPorts, v1alpha1.PortNumber(port))
	}
	if !found.Distribution.Known() {
		return profile.Profile{}, resolved, fmt.Errorf("the distribution is not known: %s", found.Distribution.Reason)
	}
	if why := profile.NotApplicable(found.Distribution.Value); why != "" {
		return profile.Profile{NotApplicable: why}, resolved, nil // whatever the CNI is
	}
	if !found.CNI.Known() {
		return profile.Profile{}, resolved, fmt.Errorf("the CNI is not known: %s", found.CNI.Reason)
	}
	p, err := profile.Resolve(found.Distribution.Value, found.CNI.Value, overrides)
	return p, resolved, err
}

// portsByHand returns the ports that the policy gives to components of the
// profile.
func portsByHand(policy *Policy) map[string][]profile.Traffic {
	ports := map[string][]profile.Traffic{}
	for _, component := range policy.Spec.Network.Components {
		if name, known := wellKnown[component.Name]; known && component.OnHosts() && len(component.Ports) > 0 {
			ports[name] = trafficOf(component.Ports)
		}
	}
	return ports
}

func trafficOf(ports []v1alpha1.Port) []profile.Traffic {
	var traffic []profile.Traffic
	for _, port := range ports {
		traffic = append(traffic, profile.Traffic{
			Protocol: profile.Protocol(port.Protocol), First: uint16(port.Port), Last: uint16(max(port.Port, port.EndPort)),
		})
	}
	return traffic
}
