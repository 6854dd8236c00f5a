// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"context"
	"crypto/tls"
)

// versionsOfTLS are the versions that crypto/tls implements, sorted.
var versionsOfTLS = []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13}

// versions is what is known about the versions of TLS of a server.
type versions struct {
	look *look
	// best is the first attempt in which the server proved to have the key of its
	// certificates, or else the first attempt with any certificates. Certificates of other
	// attempts are not kept: a server may send different certificates each time.
	best     attempt
	refused  map[uint16]bool
	accepted map[uint16]ClientCertificate // with the demand of the server in this version
}

// findVersions finds the versions that the server accepts, after a first handshake with all
// versions. A server chooses one of the offered versions, so every other version is offered
// alone. TLS 1.0 and 1.1 come as a pair first: a good server refuses both at once.
func (l *look) findVersions(ctx context.Context, first attempt) *versions {
	v := &versions{look: l, refused: map[uint16]bool{}, accepted: map[uint16]ClientCertificate{}}
	v.addAttempt(first)
	first.certificates = nil // v.best has the best certificates
	v.offerVersions(ctx, tls.VersionTLS10, tls.VersionTLS11)
	for _, version := range versionsOfTLS {
		v.offerVersions(ctx, version, version)
	}
	if len(v.accepted) == 0 {
		// The server speaks TLS, so the reason is in what crypto/tls offers.
		clear(v.refused)
		if isAlert(first.err) {
			l.addProblem(describeError(first.err))
		}
	}
	return v
}

// offerVersions makes a handshake with a range of versions, unless a version of the range
// is known.
func (v *versions) offerVersions(ctx context.Context, lowest, highest uint16) {
	if v.isKnown(lowest) || v.isKnown(highest) {
		return
	}
	tried := v.look.tryHandshake(ctx, offer{lowest: lowest, highest: highest, suites: allSuites()})
	v.addAttempt(tried)
	switch {
	case tried.isRefused():
		v.refused[lowest], v.refused[highest] = true, true
	case tried.version == 0 && lowest == highest && ctx.Err() == nil:
		v.look.addProblem(tls.VersionName(lowest) + ": " + describeError(tried.err))
	}
}

func (v *versions) isKnown(version uint16) bool {
	_, accepted := v.accepted[version]
	return accepted || v.refused[version]
}

func (v *versions) addAttempt(tried attempt) {
	if len(tried.certificates) > 0 && (tried.proven && !v.best.proven || len(v.best.certificates) == 0) {
		v.best = tried
	}
	if tried.version != 0 {
		v.accepted[tried.version] = tried.demand
	}
}

// describeVersions writes what is known into the facts.
func (v *versions) describeVersions(facts *Facts) {
	for _, version := range versionsOfTLS {
		_, accepted := v.accepted[version]
		switch {
		case accepted && facts.LowestVersion == 0:
			facts.LowestVersion, facts.HighestVersion = version, version
		case accepted:
			facts.HighestVersion = version
		case !v.refused[version]:
			facts.UnknownVersions = append(facts.UnknownVersions, version)
		}
	}
	facts.ClientCertificate = v.weakestDemand()
}

// weakestDemand returns the weakest demand for a client certificate in any version. A
// certificate is required only if every accepted version is known to require one.
func (v *versions) weakestDemand() ClientCertificate {
	counts := map[ClientCertificate]int{}
	for _, demand := range v.accepted {
		counts[demand]++
	}
	for _, demand := range []ClientCertificate{
		ClientCertificateNotRequested, ClientCertificateRequested, ClientCertificateUnknown, ClientCertificateRequired,
	} {
		if counts[demand] > 0 {
			return demand
		}
	}
	return ClientCertificateUnknown
}

// highestWithSuites returns the highest accepted version in which cipher suites can be
// chosen, and whether the answer is known; 0 stands for none.
func (v *versions) highestWithSuites() (uint16, bool) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS11, tls.VersionTLS10} {
		if _, accepted := v.accepted[version]; accepted {
			return version, true
		}
	}
	return 0, v.refused[tls.VersionTLS10] && v.refused[tls.VersionTLS11] && v.refused[tls.VersionTLS12]
}
