// SPDX-License-Identifier: Apache-2.0

package plan

// Claim is what one policy wants of one field of an object that it shares with
// others: a taint of a node, or a traffic policy of a Service.
type Claim struct {
	// Field is the field's name in a state.Record.
	Field string
	// Want is the value it should have.
	Want string
	// Policy that wants it, the oldest of those that do.
	Policy *Policy
	// HeldBack says why the value may not be written now; empty if it may.
	HeldBack string
	// Dropped says which traffic the value drops now where it is set, or would be
	// set because that is Forced; empty if none.
	Dropped string
	// Forced says that the value may be written although it drops traffic.
	Forced bool
	// NotApplicable says why the object can not have the field; empty if it can.
	NotApplicable string
	// Override says that the field is taken over from whoever declares it.
	Override bool
}

// Loss is a claim that was lost to an older policy.
type Loss struct {
	// Policy that lost, and Winner, the older one.
	Policy, Winner string
	// What was claimed, in words.
	What string
}

// settle keeps the first claim on each field, which is that of the oldest
// policy, and returns the others as lost. A policy does not lose to itself: of
// its own entries the first decides.
func settle(object string, all []Claim) (claims []Claim, losses []Loss) {
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
