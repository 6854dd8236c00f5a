// SPDX-License-Identifier: Apache-2.0

package verify

import "github.com/cpnp-dev/cpnp-operator/internal/profile"

// covers says whether everything of the second traffic is of the first.
func covers(all, part profile.Traffic) bool {
	both, overlap := intersect(all, part)
	return overlap && both == normal(part)
}

// intersect returns what is of both, if anything is.
func intersect(a, b profile.Traffic) (profile.Traffic, bool) {
	a, b = normal(a), normal(b)
	switch {
	case !a.Overlaps(b):
		return profile.Traffic{}, false
	case a.Protocol == "":
		return b, true
	case b.Protocol == "" || a == b:
		return a, true
	case !a.HasPorts():
		if a.HasCode {
			return a, true
		}
		return b, true
	case a.First == 0:
		return b, true
	case b.First == 0:
		return a, true
	}
	a.First, a.Last = max(a.First, b.First), min(a.Last, b.Last)
	return a, true
}

// normal gives a single port the end that it may have been written without.
func normal(t profile.Traffic) profile.Traffic {
	t.Last = max(t.First, t.Last)
	return t
}
