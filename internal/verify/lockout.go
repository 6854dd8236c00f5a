// SPDX-License-Identifier: Apache-2.0

package verify

import "fmt"

// Decision says what the dataplane does to a flow.
type Decision string

// The decisions about a cut flow. Unknown means that the decision depends on facts that are
// not known.
const (
	Denied  Decision = "Denied"
	Unknown Decision = "Unknown"
)

// Cut is a required flow that is cut, or may be cut.
type Cut struct {
	// Name is the name of the required flow.
	Name string
	// Flow is an example of the cut traffic.
	Flow     string
	Decision Decision
	// Why is the reason in words. Cause tells reasons apart: cuts with the same cause have one
	// remedy.
	Why, Cause string
	// AfterWrite names the cutting write, such as "write of HostEndpoint cpnp-cp-1";
	// empty if the flow is cut already.
	AfterWrite string
}

// IsUncertain says whether the decision about the flow is unknown.
func (c Cut) IsUncertain() bool { return c.Decision == Unknown }

func (c Cut) String() string {
	if c.IsUncertain() {
		when := "now"
		if c.AfterWrite != "" {
			when = "after the " + c.AfterWrite
		}
		return fmt.Sprintf("%s: it is unknown whether %s is let through %s: %s", c.Name, c.Flow, when, c.Why)
	}
	when := fmt.Sprintf("is %s already", c.Decision)
	if c.AfterWrite != "" {
		when = fmt.Sprintf("would be %s after the %s", c.Decision, c.AfterWrite)
	}
	return fmt.Sprintf("%s: %s %s: %s", c.Name, c.Flow, when, c.Why)
}

// LockoutReport separates required flows cut by the writes from required flows that are
// cut already. A cut repaired by the writes is in neither list.
type LockoutReport struct {
	// Cuts are flows that the writes would cut, in the first state with such a flow.
	// The decision about such a flow becomes worse than before any write: Allowed
	// becomes Denied or Unknown, or Unknown becomes Denied.
	Cuts []Cut
	// AlreadyCut are flows that the live objects cut, and that are still cut after the
	// last write. Empty if there are Cuts.
	AlreadyCut []Cut
}
