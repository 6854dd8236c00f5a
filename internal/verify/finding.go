// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// act is what a policy of somebody else does before ours: what is said if that
// is sure, and if not.
type act struct{ sure, unsure string }

var (
	actAllow  = act{"allows", "may allow"}
	actDeny   = act{"denies", "may deny"}
	actPass   = act{"passes on", "may pass on"}
	actDrop   = act{"drops", "may drop"}
	actUnread = act{unsure: "has a selector that can not be read, so that it may select these hosts"}
)

// finding is one thing that policies of others do to what is restricted.
type finding struct {
	who   string
	act   act
	sure  bool
	whats []string
}

// subject names a policy, and why it comes before ours.
func subject(p foreign, tier tierOf) string {
	switch p.phase {
	case dataplane.Untracked:
		return fmt.Sprintf("GlobalNetworkPolicy %s (doNotTrack)", p.Name)
	case dataplane.PreDNAT:
		return fmt.Sprintf("GlobalNetworkPolicy %s (preDNAT)", p.Name)
	}
	return fmt.Sprintf("GlobalNetworkPolicy %s (tier %s)", p.Name, tier.name)
}

// note notes what somebody does, once.
func (w *walk) note(who string, act act, what string, sure bool) {
	i := slices.IndexFunc(w.found, func(f *finding) bool { return f.who == who && f.act == act })
	if i < 0 {
		i = len(w.found)
		w.found = append(w.found, &finding{who: who, act: act})
	}
	f := w.found[i]
	f.sure = f.sure || sure
	if what != "" {
		f.whats = appendNew(f.whats, what)
	}
}

// tell tells findings, those first that are sure.
func tell(found []*finding) string {
	certainty := func(f *finding) int {
		if f.sure {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(found, func(a, b *finding) int { return cmp.Compare(certainty(a), certainty(b)) })
	var out []string
	for _, f := range found {
		verb := f.act.unsure
		if f.sure {
			verb = f.act.sure
		}
		text := f.who + " " + verb
		if len(f.whats) > 0 {
			text += " " + wording.Names(f.whats)
		}
		out = append(out, text)
	}
	return wording.Names(out)
}
