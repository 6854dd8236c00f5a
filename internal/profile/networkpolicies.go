// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
)

// Support says whether a CNI has a feature.
type Support string

const (
	// Always says that the CNI has the feature under all settings.
	Always Support = "Always"
	// Never says that the CNI does not have the feature.
	Never Support = "Never"
	// Depends says that the feature depends on settings, or on the version.
	Depends Support = "Depends"
	// NotKnown says that no document tells.
	NotKnown Support = "NotKnown"
)

// NetworkPolicies is the effect of Kubernetes NetworkPolicies with a CNI.
type NetworkPolicies struct {
	// Enforced says whether NetworkPolicies have any effect.
	Enforced Support `json:"enforced"`
	// IPBlockNodes and IPBlockPods say whether an ipBlock selects the addresses of
	// nodes, including API servers on nodes, and the addresses of pods.
	IPBlockNodes Support `json:"ipBlockNodes"`
	IPBlockPods  Support `json:"ipBlockPods"`
	// NamedPorts and EndPort say whether ports may be names, and may be ranges.
	NamedPorts Support `json:"namedPorts"`
	EndPort    Support `json:"endPort"`
	// Depends says on what a feature depends, if the value of a field is Depends.
	Depends string `json:"depends,omitempty"`
	// Sources are the documents that say so. In a data file, sources are keys of the
	// file's sources.
	Sources []string `json:"sources"`
	// Note has further information.
	Note string `json:"note,omitempty"`
}

// Addressing says from where pods get their addresses.
type Addressing string

const (
	// FromPodCIDRs is the networks in spec.podCIDRs of Node objects.
	FromPodCIDRs Addressing = "NodePodCIDRs"
	// FromIPPools is the IPPools of Calico.
	FromIPPools Addressing = "CalicoIPPools"
	// FromNodeNetwork is the network of the nodes, or another network of the cloud.
	FromNodeNetwork Addressing = "NodeNetwork"
	// FromElsewhere is a source that the operator does not read, or that no document
	// describes.
	FromElsewhere Addressing = "Elsewhere"
)

// PodNetworks says from where pods get their addresses with a CNI.
type PodNetworks struct {
	From Addressing `json:"from"`
	// Sources are the documents that say so.
	Sources []string `json:"sources"`
	// Note has further information.
	Note string `json:"note,omitempty"`
}

var (
	supports    = []Support{Always, Never, Depends, NotKnown}
	addressings = []Addressing{FromPodCIDRs, FromIPPools, FromNodeNetwork, FromElsewhere}
)

// checkPlugin checks the description of pods in a layer. Layers of CNIs must have such
// a description, and no other layer may have one.
func (l Layer) checkPlugin(cited sets.Set[string]) error {
	if (l.NetworkPolicies == nil) != (l.PodNetworks == nil) {
		return errors.New("networkPolicies and podNetworks: must both be set, or neither")
	}
	if l.NetworkPolicies == nil {
		return nil
	}
	cited.Insert(l.NetworkPolicies.Sources...)
	cited.Insert(l.PodNetworks.Sources...)
	if err := errors.Join(l.NetworkPolicies.checkForm(), checkKeys(l.NetworkPolicies.Sources, l.Sources)); err != nil {
		return fmt.Errorf("networkPolicies: %w", err)
	}
	err := checkKeys(l.PodNetworks.Sources, l.Sources)
	if !slices.Contains(addressings, l.PodNetworks.From) {
		err = fmt.Errorf("from: %q must be one of %v", l.PodNetworks.From, addressings)
	}
	if err != nil {
		return fmt.Errorf("podNetworks: %w", err)
	}
	return nil
}

func (n NetworkPolicies) checkForm() error {
	depends := false
	for _, s := range []Support{n.Enforced, n.IPBlockNodes, n.IPBlockPods, n.NamedPorts, n.EndPort} {
		if !slices.Contains(supports, s) {
			return fmt.Errorf("%q must be one of %v", s, supports)
		}
		depends = depends || s == Depends
	}
	if depends != (n.Depends != "") {
		return errors.New("depends: must say on what a field depends if the value of the field is Depends, and must be empty otherwise")
	}
	return nil
}
