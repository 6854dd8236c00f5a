// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
)

// Support is whether something holds with a CNI.
type Support string

const (
	// Always says that it holds, whatever is set.
	Always Support = "Always"
	// Never says that it does not hold.
	Never Support = "Never"
	// Depends says that it depends on what is set, or on the version.
	Depends Support = "Depends"
	// NotKnown says that no document tells.
	NotKnown Support = "NotKnown"
)

// NetworkPolicies is what Kubernetes NetworkPolicies do with a CNI.
type NetworkPolicies struct {
	// Enforced says whether they do anything.
	Enforced Support `json:"enforced"`
	// IPBlockNodes and IPBlockPods say whether an ipBlock selects the addresses
	// of nodes, API servers on them among these, and of pods.
	IPBlockNodes Support `json:"ipBlockNodes"`
	IPBlockPods  Support `json:"ipBlockPods"`
	// NamedPorts and EndPort say whether ports may be named, and be ranges.
	NamedPorts Support `json:"namedPorts"`
	EndPort    Support `json:"endPort"`
	// Depends says, where one of these depends, what it depends on.
	Depends string `json:"depends,omitempty"`
	// Sources are the documents that say so. In a data file these are keys of
	// its sources.
	Sources []string `json:"sources"`
	// Note is what else there is to know.
	Note string `json:"note,omitempty"`
}

// Addressing is where pods have their addresses from.
type Addressing string

const (
	// FromPodCIDRs is the networks that Node objects show under spec.podCIDRs.
	FromPodCIDRs Addressing = "NodePodCIDRs"
	// FromIPPools is the IPPools of Calico.
	FromIPPools Addressing = "CalicoIPPools"
	// FromNodeNetwork is the network of the nodes, or others of the cloud.
	FromNodeNetwork Addressing = "NodeNetwork"
	// FromElsewhere is where the operator does not look, or no document tells.
	FromElsewhere Addressing = "Elsewhere"
)

// PodNetworks is where pods have their addresses from with a CNI.
type PodNetworks struct {
	From Addressing `json:"from"`
	// Sources are the documents that say so.
	Sources []string `json:"sources"`
	// Note is what else there is to know.
	Note string `json:"note,omitempty"`
}

var (
	supports    = []Support{Always, Never, Depends, NotKnown}
	addressings = []Addressing{FromPodCIDRs, FromIPPools, FromNodeNetwork, FromElsewhere}
)

// checkPlugin says what is wrong with what a layer says of pods. Layers of CNIs
// must have it, no other may.
func (l Layer) checkPlugin(cited sets.Set[string]) error {
	if (l.NetworkPolicies == nil) != (l.PodNetworks == nil) {
		return errors.New("networkPolicies and podNetworks: must both be there, or none")
	}
	if l.NetworkPolicies == nil {
		return nil
	}
	cited.Insert(l.NetworkPolicies.Sources...)
	cited.Insert(l.PodNetworks.Sources...)
	if err := errors.Join(l.NetworkPolicies.check(), checkKeys(l.NetworkPolicies.Sources, l.Sources)); err != nil {
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

func (n NetworkPolicies) check() error {
	depends := false
	for _, s := range []Support{n.Enforced, n.IPBlockNodes, n.IPBlockPods, n.NamedPorts, n.EndPort} {
		if !slices.Contains(supports, s) {
			return fmt.Errorf("%q must be one of %v", s, supports)
		}
		depends = depends || s == Depends
	}
	if depends != (n.Depends != "") {
		return errors.New("depends: must say what something depends on, and must not be there where nothing does")
	}
	return nil
}
