// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// effect is what a foreign policy does before the managed policies, in words for a
// certain and for an uncertain match.
type effect struct{ certain, uncertain string }

var (
	effectAllows     = effect{"allows", "may allow"}
	effectDenies     = effect{"denies", "may deny"}
	effectPasses     = effect{"passes on", "may pass on"}
	effectDrops      = effect{"drops", "may drop"}
	effectUnreadable = effect{uncertain: "has a selector that cannot be read, so that the policy may select these hosts"}
)

// finding is an effect of a foreign policy, or of a tier, on restricted traffic.
type finding struct {
	subject string
	effect  effect
	certain bool
	objects []string
}

// describePolicy names a policy, and says why the policy precedes the managed policies.
func describePolicy(p foreignPolicy, tier orderedTier) string {
	switch p.phase {
	case dataplane.Untracked:
		return fmt.Sprintf("GlobalNetworkPolicy %s (doNotTrack)", p.Name)
	case dataplane.PreDNAT:
		return fmt.Sprintf("GlobalNetworkPolicy %s (preDNAT)", p.Name)
	}
	return fmt.Sprintf("GlobalNetworkPolicy %s (tier %s)", p.Name, tier.name)
}

// addFinding adds an effect of a policy or tier on an object, without duplicates.
func (w *policyWalk) addFinding(subject string, effect effect, object string, certain bool) {
	i := slices.IndexFunc(w.found, func(f *finding) bool { return f.subject == subject && f.effect == effect })
	if i < 0 {
		i = len(w.found)
		w.found = append(w.found, &finding{subject: subject, effect: effect})
	}
	f := w.found[i]
	f.certain = f.certain || certain
	if object != "" {
		f.objects = wording.AppendUnique(f.objects, object)
	}
}

// describeFindings describes findings, the certain findings first.
func describeFindings(found []*finding) string {
	certainty := func(f *finding) int {
		if f.certain {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(found, func(a, b *finding) int { return cmp.Compare(certainty(a), certainty(b)) })
	var out []string
	for _, f := range found {
		verb := f.effect.uncertain
		if f.certain {
			verb = f.effect.certain
		}
		text := f.subject + " " + verb
		if len(f.objects) > 0 {
			text += " " + wording.ListNames(f.objects)
		}
		out = append(out, text)
	}
	return wording.ListNames(out)
}
