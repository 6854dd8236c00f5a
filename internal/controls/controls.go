// SPDX-License-Identifier: Apache-2.0

// Package controls maps findings to controls of public benchmarks. The ids are data:
// table.go has a row for each id, with the public source used to check the id. An id
// without such a source is not in the table. The package is pure.
package controls

import "slices"

// The frameworks.
const (
	CIS  = "CIS Kubernetes"
	STIG = "DISA STIG Kubernetes"
	NSA  = "NSA/CISA Hardening Guide"
)

// Max is the maximum number of controls of a finding, as in the API.
const Max = 8

// Control is a control of a benchmark.
type Control struct {
	// Framework is the benchmark.
	Framework string
	// Version lists the versions of the benchmark in which the control has the id.
	Version string
	// ID of the control. The guide of NSA and CISA has no ids: the chapter stands for the
	// id.
	ID string
	// Title says in a few words what the control asks for.
	Title string
}

// String returns the control as findings show it, such as "CIS Kubernetes 1.2.24".
func (c Control) String() string { return c.Framework + " " + c.ID }

// ForCheck returns the controls that ask for the opposite of a finding of a check on a
// component, at most Max, in the order of the table. Without a component, the finding is
// about the control plane as a whole: the controls of all components count. A check without
// controls has none.
func ForCheck(check, component string) []Control {
	var found []Control
	for _, r := range table {
		if len(found) < Max && r.concerns(check, component) && !slices.Contains(found, r.Control) {
			found = append(found, r.Control)
		}
	}
	return found
}

// Describe returns the controls of ForCheck as findings show them.
func Describe(check, component string) []string {
	var names []string
	for _, c := range ForCheck(check, component) {
		names = append(names, c.String())
	}
	return names
}

// concerns tells whether a row is about a check on a component.
func (r row) concerns(check, component string) bool {
	return slices.Contains(r.checks, check) && (component == "" || len(r.components) == 0 || slices.Contains(r.components, component))
}
