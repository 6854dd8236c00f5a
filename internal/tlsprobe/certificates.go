// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// The maximum lengths of texts of certificates, in bytes. A DNS name has at most 253
// bytes, a serial number 20 bytes.
const (
	maxName   = 256
	maxSerial = 64
)

// describeCertificates writes the facts about the certificates that an attempt saw.
func (l *look) describeCertificates(seen attempt, facts *Facts) {
	chain := seen.certificates[:min(len(seen.certificates), l.limits.Certificates)]
	if len(chain) == 0 {
		return
	}
	for _, certificate := range chain {
		facts.Certificates = append(facts.Certificates, l.describeCertificate(certificate))
	}
	for _, name := range l.target.Names[:min(len(l.target.Names), l.limits.Names)] {
		if !coversName(chain[0], name) {
			facts.UncoveredNames = append(facts.UncoveredNames, name)
		}
	}
	if !seen.proven {
		l.addProblem("the server did not prove to have the key of the certificate: " + describeError(seen.err))
	} else if l.prober.Roots != nil {
		facts.Trust = l.findTrust(chain)
	}
}

func (l *look) describeCertificate(certificate *x509.Certificate) Certificate {
	described := Certificate{
		Subject:   wording.OneLine(certificate.Subject.String(), maxName),
		Issuer:    wording.OneLine(certificate.Issuer.String(), maxName),
		Serial:    wording.OneLine(certificate.SerialNumber.Text(16), maxSerial),
		NotBefore: certificate.NotBefore,
		NotAfter:  certificate.NotAfter,
		IsCA:      certificate.BasicConstraintsValid && certificate.IsCA,
	}
	for _, name := range certificate.DNSNames[:min(len(certificate.DNSNames), l.limits.Names)] {
		described.Names = append(described.Names, wording.OneLine(name, maxName))
	}
	room := l.limits.Names - len(described.Names)
	for _, address := range certificate.IPAddresses[:min(len(certificate.IPAddresses), room)] {
		described.Names = append(described.Names, address.String())
	}
	return described
}

// coversName tells whether a certificate covers a DNS name or an address, by its subject
// alternative names.
func coversName(certificate *x509.Certificate, name string) bool {
	if address, err := netip.ParseAddr(name); err == nil {
		name = address.Unmap().WithZone("").String()
	}
	return certificate.VerifyHostname(name) == nil
}

// findTrust tells whether a chain ends in the roots of the prober. The time does not
// matter: the periods of the presented certificates are facts of their own, and a root
// counts if valid now, or at the begin or end of the first certificate.
func (l *look) findTrust(chain []*x509.Certificate) Trust {
	leaf := withoutPeriod(chain[0])
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(withoutPeriod(certificate))
	}
	var err error
	for _, moment := range []time.Time{time.Now(), chain[0].NotBefore, chain[0].NotAfter} {
		_, err = leaf.Verify(x509.VerifyOptions{
			Roots:         l.prober.Roots,
			Intermediates: intermediates,
			CurrentTime:   moment,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		if err == nil {
			return Trusted
		}
	}
	if !errors.As(err, new(x509.UnknownAuthorityError)) {
		l.addProblem("the chain of certificates: " + err.Error())
	}
	return NotTrusted
}

// withoutPeriod returns the certificate as valid at all times. The signature stays valid,
// because Verify compares signatures with the encoded certificate.
func withoutPeriod(certificate *x509.Certificate) *x509.Certificate {
	always := *certificate
	always.NotBefore, always.NotAfter = time.Time{}, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	return &always
}
