// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Limits of the schema of a TLSResult.
const (
	maxProblem = 256
	maxSubject = 256
)

func probeTargetsOf(targets []v1alpha1.TLSTarget) []tlsprobe.Target {
	probed := make([]tlsprobe.Target, 0, len(targets))
	for _, t := range targets {
		address, _ := netip.ParseAddr(t.Address) // the API server has validated the address
		probed = append(probed, tlsprobe.Target{Address: address, Port: uint16(t.Port), Names: t.Names})
	}
	return probed
}

// resultOf returns the facts about a target in the form of the API.
func resultOf(target v1alpha1.TLSTarget, facts tlsprobe.Facts) v1alpha1.TLSResult {
	result := v1alpha1.TLSResult{
		Address: target.Address, Port: target.Port, Outcome: outcomeOfFacts(facts.Outcome),
		Problem:               wording.OneLine(facts.Problem, maxProblem),
		Plaintext:             v1alpha1.PlaintextAnswer(facts.Plaintext),
		LowestVersion:         versionText(facts.LowestVersion),
		HighestVersion:        versionText(facts.HighestVersion),
		ClientCertificate:     v1alpha1.ClientCertificateDemand(facts.ClientCertificate),
		UncoveredNames:        facts.UncoveredNames,
		Issuer:                issuerOf(facts.Trust),
		ConnectMicroseconds:   facts.Connect.Microseconds(),
		HandshakeMicroseconds: facts.Handshake.Microseconds(),
	}
	for _, version := range facts.UnknownVersions {
		result.Unclear = append(result.Unclear, versionText(version))
	}
	if facts.CipherSuitesUnknown {
		result.Unclear = append(result.Unclear, v1alpha1.UnclearCipherSuites)
	}
	for _, suite := range facts.WeakCipherSuites[:min(len(facts.WeakCipherSuites), v1alpha1.MaxWeakCipherSuites)] {
		result.WeakCipherSuites = append(result.WeakCipherSuites, tls.CipherSuiteName(suite))
	}
	for _, c := range facts.Certificates[:min(len(facts.Certificates), v1alpha1.MaxCertificates)] {
		result.Certificates = append(result.Certificates, v1alpha1.Certificate{
			Subject: wording.OneLine(c.Subject, maxSubject), Issuer: wording.OneLine(c.Issuer, maxSubject),
			NotBefore: storedTime(c.NotBefore), NotAfter: storedTime(c.NotAfter),
		})
	}
	return result
}

// storedTime returns a time in the range that the API can store: a certificate may have any
// year.
func storedTime(at time.Time) *metav1.Time {
	first, last := time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case at.Before(first):
		at = first
	case at.After(last):
		at = last
	}
	return &metav1.Time{Time: at}
}

func outcomeOfFacts(outcome tlsprobe.Outcome) v1alpha1.TLSOutcome {
	switch outcome {
	case tlsprobe.PlaintextOnly, tlsprobe.Garbage:
		return v1alpha1.TLSNotTLS
	case tlsprobe.Open, tlsprobe.Silent, tlsprobe.Refused, tlsprobe.Dropped, tlsprobe.Unreachable, tlsprobe.NotFinished:
		return v1alpha1.TLSOutcome(outcome)
	}
	return v1alpha1.TLSNotFinished
}

func issuerOf(trust tlsprobe.Trust) v1alpha1.CertificateIssuer {
	switch trust {
	case tlsprobe.Trusted:
		return v1alpha1.IssuerClusterCA
	case tlsprobe.NotTrusted:
		return v1alpha1.IssuerOther
	case tlsprobe.TrustUnknown:
	}
	return ""
}

// versionText returns the name of a version of TLS in Kubernetes' own components; empty for
// 0.
func versionText(version uint16) string {
	switch version {
	case 0:
		return ""
	case tls.VersionTLS10:
		return "VersionTLS10"
	case tls.VersionTLS11:
		return "VersionTLS11"
	case tls.VersionTLS12:
		return "VersionTLS12"
	case tls.VersionTLS13:
		return "VersionTLS13"
	default:
		return fmt.Sprintf("Version%04x", version)
	}
}
