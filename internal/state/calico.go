// SPDX-License-Identifier: Apache-2.0

package state

import v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

// CalicoMode is how Calico's API is served.
type CalicoMode string

const (
	// CalicoUnknown means that it has not been found out yet.
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

// Calico is what there is of Calico at one moment. Its objects belong to the
// cache: they are never written to.
type Calico struct {
	Mode CalicoMode

	// Problem says why what follows can not be relied on, and nothing may be
	// written; empty when all is well. It is for people, and says what to do.
	Problem string

	// Settling says that the Problem is only that nothing, or not everything,
	// has been read yet, which is so for a moment after a start.
	Settling bool

	// The objects, sorted by name. They are complete unless there is a Problem.
	Tiers     []v3.Tier
	Policies  []v3.GlobalNetworkPolicy
	Sets      []v3.GlobalNetworkSet
	Endpoints []v3.HostEndpoint
	Felix     []v3.FelixConfiguration
	Pools     []v3.IPPool
}

// Readable says whether its objects are there to be compared and written.
func (c Calico) Readable() bool { return c.Served() && c.Problem == "" }

// Hidden says whether there may be objects that can not be seen now.
func (c Calico) Hidden() bool { return !c.Readable() && (c.Mode != CalicoAbsent || c.Problem != "") }

// Served says whether projectcalico.org/v3 is served.
func (c Calico) Served() bool { return c.Mode == CalicoAggregated || c.Mode == CalicoNative }
