// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// wellKnown maps the policy's names of components on hosts to the profile's names.
var wellKnown = map[string]string{
	"apiServer":         profile.ComponentAPIServer,
	"etcd":              "etcd",
	"kubelet":           "kubelet",
	"scheduler":         "kube-scheduler",
	"controllerManager": "kube-controller-manager",
}

// setByHand is the reason for a value from the spec.
const setByHand = "set in spec.profile"

// resolveProfile returns the flows of the policy's cluster and the signs behind the choice
// of profile. An error names the value to set by hand.
func resolveProfile(policy *Policy, snapshot state.Snapshot) (profile.Profile, *v1alpha1.ResolvedProfile, error) {
	given, found := policy.Spec.Profile, profile.Detect(snapshot.Facts)
	if given.Distribution != v1alpha1.DistributionAuto && given.Distribution != "" {
		found.Distribution = profile.Finding{Value: string(given.Distribution), Reason: setByHand}
	}
	if given.CNI != v1alpha1.CNIAuto && given.CNI != "" {
		found.CNI = profile.Finding{Value: string(given.CNI), Reason: setByHand}
	}
	found.Distribution, found.CNI = keptDetection(policy, found, snapshot.Facts)
	overrides, err := overridesOf(policy)
	overrides.APIServerPorts = apiServerPorts(policy, snapshot, found.APIServerPorts)
	// Ports of unselected nodes do not matter here: a worker's own port must not change the
	// rules.
	overrides.KubeletPorts = slices.DeleteFunc(kubeletPorts(snapshot.Nodes, policy.SelectsNode), policy.claimsPort)
	resolved := &v1alpha1.ResolvedProfile{
		Distribution: found.Distribution.Value, DistributionReason: found.Distribution.Reason,
		CNI: found.CNI.Value, CNIReason: found.CNI.Reason,
	}
	for _, port := range overrides.APIServerPorts {
		resolved.APIServerPorts = append(resolved.APIServerPorts, v1alpha1.PortNumber(port))
	}
	if err != nil {
		return profile.Profile{}, resolved, err
	}
	if !found.Distribution.IsKnown() {
		return profile.Profile{}, resolved, fmt.Errorf("the distribution is not known: %s", found.Distribution.Reason)
	}
	if why := profile.NotApplicable(found.Distribution.Value); why != "" {
		// with any CNI
		return profile.Profile{NotApplicable: why + " (" + found.Distribution.Reason + ")"}, resolved, nil
	}
	if !found.CNI.IsKnown() {
		return profile.Profile{}, resolved, fmt.Errorf("the CNI is not known: %s", found.CNI.Reason)
	}
	p, err := profile.Resolve(found.Distribution.Value, found.CNI.Value, overrides)
	return p, resolved, err
}

// keptDetection returns the detected distribution and CNI. If signs are gone or contradict
// each other, the former result is kept: a writer with the right to add a sign must not be
// able to stop repairs. For the same reason, a cluster does not become a cluster without
// nodes to protect, unless a label protected from kubelets tells where the control plane
// is. An administrator can override the result in spec.profile.
func keptDetection(policy *Policy, found profile.Detection, facts profile.Facts) (distribution, cni profile.Finding) {
	distribution, cni = found.Distribution, found.CNI
	if before := policy.Status.Profile; before != nil {
		former := profile.Finding{Value: before.Distribution, Reason: before.DistributionReason}
		if losesNodes(distribution, former) && !facts.LabelsControlPlane() {
			distribution.Value = profile.Unknown
		}
		distribution = keepDetected(distribution, former)
		cni = keepDetected(cni, profile.Finding{Value: before.CNI, Reason: before.CNIReason})
	}
	return distribution, cni
}

// losesNodes tells whether a detected cluster had nodes to protect before, and has none now.
func losesNodes(now, before profile.Finding) bool {
	return now.Reason != setByHand && profile.NotApplicable(now.Value) != "" &&
		before.IsKnown() && before.Reason != setByHand && profile.NotApplicable(before.Value) == ""
}

// keptBefore is the beginning of the reason for a kept result.
const keptBefore = "it was detected before and is kept, although "

func keepDetected(now, before profile.Finding) profile.Finding {
	if now.IsKnown() || !before.IsKnown() || before.Reason == setByHand {
		return now
	}
	return profile.Finding{Value: before.Value, Reason: keptBefore + now.Reason}
}

// keptNotes returns a note for each kept result.
func keptNotes(resolved *v1alpha1.ResolvedProfile) []string {
	var notes []string
	for name, reason := range map[string]string{
		"distribution is taken for " + resolved.Distribution: resolved.DistributionReason, "CNI is taken for " + resolved.CNI: resolved.CNIReason,
	} {
		if strings.HasPrefix(reason, keptBefore) {
			notes = append(notes, "the "+name+": "+reason)
		}
	}
	slices.Sort(notes)
	return notes
}

// apiServerPorts returns the sorted ports of the API servers, detected and declared. While
// an API server is missing, former ports are kept too, because the API server must be
// reachable on its return.
func apiServerPorts(policy *Policy, snapshot state.Snapshot, found []uint16) []uint16 {
	ports, given := slices.Clone(found), policy.Spec.Profile.APIServerPorts
	if policy.Status.Profile != nil && slices.ContainsFunc(KnownAPIServers(policy, snapshot), isMissingServer) {
		given = slices.Concat(given, policy.Status.Profile.APIServerPorts)
	}
	for _, port := range given {
		ports = append(ports, uint16(port))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// overridesOf returns the policy's changes to the profile, without the API servers' ports.
// An error says what to write instead.
func overridesOf(policy *Policy) (profile.Overrides, error) {
	var overrides profile.Overrides
	given := policy.Spec.Profile
	for _, name := range given.AddOns {
		overrides.AddOns = append(overrides.AddOns, string(name))
	}
	overrides.NodePorts = profile.PortRange{First: uint16(given.NodePorts.First), Last: uint16(given.NodePorts.Last)}
	for _, flow := range given.Flows {
		added, err := flowOf(flow)
		if err != nil {
			return overrides, fmt.Errorf("spec.profile.flows, %s: %w", flow.Name, err)
		}
		overrides.Flows = append(overrides.Flows, added)
	}
	var err error
	overrides.Components, err = portsByHand(policy)
	return overrides, err
}

func flowOf(flow v1alpha1.ProfileFlow) (profile.Flow, error) {
	added := profile.Flow{
		Name: flow.Name, To: profile.Role(flow.To), Component: flow.Component, Required: flow.Need == v1alpha1.NeedRequired,
	}
	for _, role := range flow.From {
		added.From = append(added.From, profile.Role(role))
	}
	for _, text := range flow.Traffic {
		traffic, err := profile.ParseTraffic(string(text))
		if err != nil {
			return profile.Flow{}, fmt.Errorf("traffic: %w", err)
		}
		added.Traffic = append(added.Traffic, traffic)
	}
	for _, text := range flow.Destinations {
		network, err := netip.ParsePrefix(string(text))
		if err != nil { // the API server has validated the network
			return profile.Flow{}, fmt.Errorf("destinations: %w", err)
		}
		added.Destinations = append(added.Destinations, network)
	}
	return added, nil
}

// portsByHand returns the policy's ports for components of the profile, from
// spec.profile.components and from spec.network.components.
func portsByHand(policy *Policy) (map[string][]profile.Traffic, error) {
	ports := map[string][]profile.Traffic{}
	for _, component := range policy.Spec.Profile.Components {
		ports[component.Name] = trafficOf(component.Ports)
	}
	if policy.Spec.Network == nil {
		return ports, nil
	}
	for _, component := range policy.Spec.Network.Components {
		name, known := wellKnown[component.Name]
		if !known || !component.OnHosts() || len(component.Ports) == 0 {
			continue
		}
		if ports[name] != nil {
			return nil, fmt.Errorf("the ports of %s are in spec.network.components, and as %s in spec.profile.components: take one of them out",
				component.Name, name)
		}
		ports[name] = trafficOf(component.Ports)
	}
	return ports, nil
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
