// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"testing"

	. "github.com/onsi/gomega"
)

const (
	confinement = "../../config/rbac/operator_admission.yaml"
	guard       = "../../config/guard/admission.yaml"

	tier = "{metadata: {name: cpnp}, spec: {order: 500, defaultAction: Pass}}"
)

// Felix treats a tier without a default action as a tier that denies, which
// would cut off every node with a policy in the tier.
func TestOperatorCannotMakeTheTierDeny(t *testing.T) {
	policy := readPolicy(t, confinement, "confine-calico")
	for name, test := range map[string]struct {
		change
		want bool
	}{
		"the operator's own write": {change{"tiers", "", tier}, true},
		"deleted":                  {change{"tiers", tier, ""}, true},
		"deny":                     {change{"tiers", tier, "{metadata: {name: cpnp}, spec: {order: 500, defaultAction: Deny}}"}, false},
		"no default action":        {change{"tiers", tier, "{metadata: {name: cpnp}, spec: {order: 500}}"}, false},
		"created without":          {change{"tiers", "", "{metadata: {name: cpnp}, spec: {order: 500}}"}, false},
		"no order":                 {change{"tiers", tier, "{metadata: {name: cpnp}, spec: {defaultAction: Pass}}"}, false},
		"another tier":             {change{"tiers", "", "{metadata: {name: other}, spec: {order: 500, defaultAction: Pass}}"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(admits(t, &policy, test.change)).To(Equal(test.want))
		})
	}
}

// The guard protects all objects of the operator from others: also the tier, which has no
// label. It also refuses an owner with which garbage collection would delete the object.
func TestGuardCannotBeBypassed(t *testing.T) {
	policy := readPolicy(t, guard, "guard")
	const endpoint = "{metadata: {name: cpnp-cp-1, labels: {cpnp.dev/policy: plane}}, spec: {node: cp-1}}"
	for name, test := range map[string]struct {
		change
		managed, admitted bool
	}{
		"the tier":          {change{"tiers", tier, "{metadata: {name: cpnp}, spec: {order: 500, defaultAction: Deny}}"}, true, false},
		"the tier deleted":  {change{"tiers", tier, ""}, true, false},
		"a label on it":     {change{"tiers", tier, "{metadata: {name: cpnp, labels: {x: z}}, spec: {order: 500, defaultAction: Pass}}"}, true, true},
		"a finalizer on it": {change{"tiers", tier, "{metadata: {name: cpnp, finalizers: [x/y]}, spec: {order: 500, defaultAction: Pass}}"}, true, true},
		"another tier":      {change{"tiers", "{metadata: {name: theirs}, spec: {}}", ""}, false, false},
		"an owner": {change{"hostendpoints", endpoint,
			"{metadata: {name: cpnp-cp-1, labels: {cpnp.dev/policy: plane}, ownerReferences: [{apiVersion: v1, kind: Node, name: gone, uid: '1'}]}, spec: {node: cp-1}}"},
			true, false},
		"another label": {change{"hostendpoints", endpoint,
			"{metadata: {name: cpnp-cp-1, labels: {cpnp.dev/policy: plane, x: z}}, spec: {node: cp-1}}"}, true, true},
		"another spec": {change{"hostendpoints", endpoint,
			"{metadata: {name: cpnp-cp-1, labels: {cpnp.dev/policy: plane}}, spec: {node: cp-2}}"}, true, false},
		"no label": {change{"hostendpoints", "{metadata: {name: cpnp-cp-1}, spec: {}}", ""}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(matches(t, &policy, "managed", test.change)).To(Equal(test.managed))
			g.Expect(admits(t, &policy, test.change)).To(Equal(test.admitted))
		})
	}
}
