// SPDX-License-Identifier: Apache-2.0

package plan

// Claim is the value that one policy wants for one field of a shared object: a taint of a
// node, or a traffic policy of a Service.
type Claim struct {
	// Field is the field's name in a state.Record.
	Field string
	// Want is the wanted value.
	Want string
	// Policy is the claiming policy; the oldest if several claim the same.
	Policy *Policy
	// HoldReason is the reason for not writing the value now; empty if the value may be written.
	HoldReason string
	// Dropped names the traffic that the value drops: now, if the value is set; after the
	// write, if the claim is Forced. Empty if none.
	Dropped string
	// Forced allows the operator to write a value that drops traffic.
	Forced bool
	// NotApplicable is the reason why the object cannot have the field; empty if the object
	// can.
	NotApplicable string
	// Override allows the operator to take the field over from another field manager.
	Override bool
}

// Loss is a claim that lost to the claim of an older policy.
type Loss struct {
	// Policy is the name of the policy that lost, Winner the name of the older policy.
	Policy, Winner string
	// What names the claimed field or protection in words.
	What string
}

// resolvePrecedence keeps the first claim on each field, which comes from the oldest policy,
// and returns the claims of other policies as losses. Of several claims of the same policy the
// first counts, and the others are no losses.
func resolvePrecedence(object string, all []Claim) (claims []Claim, losses []Loss) {
	winners := map[string]*Policy{}
	for _, claim := range all {
		winner, taken := winners[claim.Field]
		switch {
		case !taken:
			winners[claim.Field] = claim.Policy
			claims = append(claims, claim)
		case winner.Name != claim.Policy.Name:
			losses = append(losses, Loss{Policy: claim.Policy.Name, Winner: winner.Name, What: claim.Field + " of " + object})
		}
	}
	return claims, losses
}
