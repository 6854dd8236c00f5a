// SPDX-License-Identifier: Apache-2.0

package state

import v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

// CalicoMode is the way in which Calico's API is served.
type CalicoMode string

const (
	// CalicoUnknown means that the mode is not known yet.
	CalicoUnknown CalicoMode = ""
	// CalicoAbsent means that no API of Calico is served.
	CalicoAbsent CalicoMode = "Absent"
	// CalicoV1Only means that crd.projectcalico.org/v1 is served and
	// projectcalico.org/v3 is not: Calico runs without its API server.
	CalicoV1Only CalicoMode = "V1Only"
	// CalicoAggregated means that projectcalico.org/v3 is served by Calico's
	// API server.
	CalicoAggregated CalicoMode = "Aggregated"
	// CalicoNative means that projectcalico.org/v3 is served from CRDs (Calico
	// v3.32 and later).
	CalicoNative CalicoMode = "Native"
)

// Calico is the state of Calico at one moment. The objects belong to the cache, and are
// never changed.
type Calico struct {
	Mode CalicoMode

	// Problem is the reason why the objects cannot be relied on, and nothing may be
	// written; empty if there is no problem. The text is for people, and says how to
	// correct the problem.
	Problem string

	// Settling says that the only Problem is an unfinished first read, for a moment
	// after a start.
	Settling bool

	// The objects, sorted by name. Without a Problem, the objects are complete.
	Tiers     []v3.Tier
	Policies  []v3.GlobalNetworkPolicy
	Sets      []v3.GlobalNetworkSet
	Endpoints []v3.HostEndpoint
	Felix     []v3.FelixConfiguration
	Pools     []v3.IPPool
}

// IsReadable says whether the objects can be compared and written.
func (c Calico) IsReadable() bool { return c.IsServed() && c.Problem == "" }

// MayHideObjects says whether there may be objects that cannot be seen now.
func (c Calico) MayHideObjects() bool {
	return !c.IsReadable() && (c.Mode != CalicoAbsent || c.Problem != "")
}

// IsServed says whether projectcalico.org/v3 is served.
func (c Calico) IsServed() bool { return c.Mode == CalicoAggregated || c.Mode == CalicoNative }
