// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"context"
	"crypto/tls"
	"slices"
)

// findWeakSuites finds the accepted weak suites: the server chooses one of the offered,
// and is offered the others again until none is chosen. Each attempt takes a suite away.
func (l *look) findWeakSuites(ctx context.Context, found *versions, facts *Facts) {
	highest, known := found.highestWithSuites()
	if highest == 0 {
		facts.CipherSuitesUnknown = !known
		return
	}
	for left := suitesUpTo(l.weakSuites(), highest); len(left) > 0; {
		tried := l.tryHandshake(ctx, offer{lowest: tls.VersionTLS10, highest: highest, suites: left})
		at := slices.Index(left, tried.suite)
		if at < 0 {
			facts.CipherSuitesUnknown = !tried.isRefused()
			if facts.CipherSuitesUnknown && ctx.Err() == nil {
				l.addProblem("weak cipher suites: " + describeError(tried.err))
			}
			break
		}
		facts.WeakCipherSuites = append(facts.WeakCipherSuites, tried.suite)
		left = slices.Delete(left, at, at+1)
	}
	slices.Sort(facts.WeakCipherSuites)
}

func (l *look) weakSuites() []uint16 {
	if l.prober.WeakCipherSuites != nil {
		return l.prober.WeakCipherSuites
	}
	return suiteIDs(tls.InsecureCipherSuites())
}

// suitesUpTo returns the suites that crypto/tls can offer if the given version, TLS 1.2 or
// lower, is the highest.
func suitesUpTo(wanted []uint16, highest uint16) []uint16 {
	var offered []uint16
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if slices.Contains(wanted, suite.ID) && slices.Min(suite.SupportedVersions) <= highest {
			offered = append(offered, suite.ID)
		}
	}
	return offered
}

// allSuites returns all suites that crypto/tls can offer.
func allSuites() []uint16 {
	return append(suiteIDs(tls.CipherSuites()), suiteIDs(tls.InsecureCipherSuites())...)
}

// offerAll returns the offer of all versions and suites.
func offerAll() offer {
	return offer{lowest: tls.VersionTLS10, highest: tls.VersionTLS13, suites: allSuites()}
}

func suiteIDs(suites []*tls.CipherSuite) []uint16 {
	ids := make([]uint16, 0, len(suites))
	for _, suite := range suites {
		ids = append(ids, suite.ID)
	}
	return ids
}
