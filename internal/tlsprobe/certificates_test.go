// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// TestCertificates separates chain, time and names: each may be wrong alone.
func TestCertificates(t *testing.T) {
	authority, stranger := newAuthority(t), newAuthority(t)
	between, err := authority.NewIntermediate("issuing CA")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	names := []string{"127.0.0.1", "node-1.example", "::1"}
	now := time.Now()
	withoutChain := issue(t, between, tlsservers.Request{Names: names})
	withoutChain.Certificate = withoutChain.Certificate[:1]

	tests := map[string]struct {
		certificate tls.Certificate
		uncovered   []string
		trust       tlsprobe.Trust
	}{
		"good":                        {issue(t, authority, tlsservers.Request{Names: names}), nil, tlsprobe.Trusted},
		"good, by RSA":                {issue(t, authority, tlsservers.Request{Names: names, RSA: true}), nil, tlsprobe.Trusted},
		"by an intermediate":          {issue(t, between, tlsservers.Request{Names: names}), nil, tlsprobe.Trusted},
		"intermediate not sent":       {withoutChain, nil, tlsprobe.NotTrusted},
		"by another authority":        {issue(t, stranger, tlsservers.Request{Names: names}), nil, tlsprobe.NotTrusted},
		"expired":                     {issue(t, authority, tlsservers.Request{Names: names, NotAfter: now.Add(-time.Hour)}), nil, tlsprobe.Trusted},
		"expired before the root was": {issue(t, authority, tlsservers.Request{Names: names, NotBefore: now.AddDate(-5, 0, 0), NotAfter: now.AddDate(-4, 0, 0)}), nil, tlsprobe.Trusted},
		"expires tomorrow":            {issue(t, authority, tlsservers.Request{Names: names, NotAfter: now.Add(time.Hour)}), nil, tlsprobe.Trusted},
		"not valid yet":               {issue(t, authority, tlsservers.Request{Names: names, NotBefore: now.Add(time.Hour)}), nil, tlsprobe.Trusted},
		"without the address":         {issue(t, authority, tlsservers.Request{Names: names[1:]}), names[:1], tlsprobe.Trusted},
		"without the DNS name":        {issue(t, authority, tlsservers.Request{Names: []string{"127.0.0.1", "::1"}}), names[1:2], tlsprobe.Trusted},
		"covers neither name": {
			issue(t, authority, tlsservers.Request{Name: "node-1.example"}), names, tlsprobe.Trusted, // a common name covers nothing
		},
		"covers by a wildcard":         {issue(t, authority, tlsservers.Request{Names: []string{"127.0.0.1", "::1", "*.example"}}), nil, tlsprobe.Trusted},
		"expired, other name, unknown": {issue(t, stranger, tlsservers.Request{Names: []string{"192.0.2.1"}, NotAfter: now.Add(-time.Hour)}), names, tlsprobe.NotTrusted},
		"self-signed":                  {selfSigned(t, func(c *x509.Certificate) {}), names, tlsprobe.NotTrusted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			address := serveHTTP(t, &tls.Config{Certificates: []tls.Certificate{test.certificate}})
			facts := (&tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}).Probe(t.Context(), targetOf(address, names...))
			g.Expect(facts.Outcome).To(Equal(tlsprobe.Open))
			g.Expect(facts.Problem).To(BeEmpty())
			g.Expect(facts.UncoveredNames).To(Equal(test.uncovered))
			g.Expect(facts.Trust).To(Equal(test.trust))
			g.Expect(facts.Certificates).To(HaveLen(len(test.certificate.Certificate)))
			leaf, err := x509.ParseCertificate(test.certificate.Certificate[0])
			g.Expect(err).NotTo(HaveOccurred())
			got := facts.Certificates[0]
			g.Expect(got.NotBefore).To(BeTemporally("==", leaf.NotBefore))
			g.Expect(got.NotAfter).To(BeTemporally("==", leaf.NotAfter))
			g.Expect(got.Subject).To(Equal(leaf.Subject.String()))
			g.Expect(got.Issuer).To(Equal(leaf.Issuer.String()))
			g.Expect(got.Serial).To(Equal(leaf.SerialNumber.Text(16)))
			g.Expect(got.IsCA).To(BeFalse())

			// Without roots, the trust is unknown, and all other facts are known.
			unknown := (&tlsprobe.Prober{Limits: patient}).Probe(t.Context(), targetOf(address, names...))
			facts.Trust = tlsprobe.TrustUnknown
			requireFacts(t, unknown, facts)
		})
	}
}

// The chain is judged with a required client certificate too, although the handshake of TLS 1.2 then fails.
func TestCertificatesOfAFailedHandshake(t *testing.T) {
	g := NewWithT(t)
	authority := newAuthority(t)
	between, err := authority.NewIntermediate("issuing CA")
	g.Expect(err).NotTo(HaveOccurred())
	address := serveHTTP(t, &tls.Config{
		MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert,
		Certificates: []tls.Certificate{issue(t, between, tlsservers.Request{Names: []string{"192.0.2.1", "a.example"}})},
	})
	facts := (&tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}).Probe(t.Context(), targetOf(address, "127.0.0.1", "a.example"))
	g.Expect(facts.Trust).To(Equal(tlsprobe.Trusted))
	g.Expect(facts.UncoveredNames).To(Equal([]string{"127.0.0.1"}))
	g.Expect(facts.Certificates).To(HaveLen(2))
	g.Expect(facts.Certificates[0].Names).To(Equal([]string{"a.example", "192.0.2.1"}))
	g.Expect(facts.Certificates[1].Subject).To(Equal("CN=issuing CA"))
	g.Expect(facts.Certificates[1].IsCA).To(BeTrue())
	g.Expect(facts.Handshake).To(BeNumerically(">", 0))
}

// Addresses are compared as addresses, in whatever way the target writes them.
func TestAddressesAreCompared(t *testing.T) {
	g := NewWithT(t)
	address := serveHTTP(t, &tls.Config{Certificates: []tls.Certificate{
		issue(t, newAuthority(t), tlsservers.Request{Names: []string{"192.0.2.1", "fe80::1", "2001:db8::1"}}),
	}})
	names := []string{"::ffff:192.0.2.1", "fe80::1%eth0", "2001:DB8:0::1", "192.0.2.2", "2001:db8::2", ""}
	facts := (&tlsprobe.Prober{Limits: patient}).Probe(t.Context(), targetOf(address, names...))
	g.Expect(facts.UncoveredNames).To(Equal(names[3:]))
}

// The permitted usages of a certificate do not matter for the chain.
func TestUsageDoesNotMatterForTheChain(t *testing.T) {
	g := NewWithT(t)
	certificate := selfSigned(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	root, err := x509.ParseCertificate(certificate.Certificate[0])
	g.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	roots.AddCert(root)
	address := serveHTTP(t, &tls.Config{Certificates: []tls.Certificate{certificate}})
	g.Expect((&tlsprobe.Prober{Roots: roots, Limits: patient}).Probe(t.Context(), targetOf(address)).Trust).To(Equal(tlsprobe.Trusted))
}

// Anybody can copy a chain: only a server with the key is trusted.
func TestACopiedCertificateIsNotTrusted(t *testing.T) {
	for _, version := range []uint16{v12, v13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			g := NewWithT(t)
			authority := newAuthority(t)
			copied := issue(t, authority, tlsservers.Request{})
			copied.PrivateKey = issue(t, authority, tlsservers.Request{}).PrivateKey
			address := serveHTTP(t, &tls.Config{MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{copied}})
			facts := (&tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}).Probe(t.Context(), targetOf(address))
			g.Expect(facts.Certificates).To(HaveLen(1))
			g.Expect(facts.Trust).To(Equal(tlsprobe.TrustUnknown))
			g.Expect(facts.Problem).To(ContainSubstring("the server did not prove to have the key of the certificate"))
			g.Expect(facts.ClientCertificate).To(Equal(tlsprobe.ClientCertificateUnknown))
			g.Expect(facts.Handshake).To(BeZero())
		})
	}
}

// Of two certificates in two versions, the one counts whose key the server has.
func TestCertificateWithItsKeyCounts(t *testing.T) {
	g := NewWithT(t)
	authority := newAuthority(t)
	good := issue(t, authority, tlsservers.Request{Name: "good"})
	copied := issue(t, authority, tlsservers.Request{Name: "copied"})
	copied.PrivateKey = good.PrivateKey
	address := serveHTTP(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.SupportedVersions[0] == v13 {
			return &copied, nil
		}
		return &good, nil
	}})
	facts := (&tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}).Probe(t.Context(), targetOf(address))
	g.Expect(facts.Trust).To(Equal(tlsprobe.Trusted))
	g.Expect(facts.Certificates[0].Subject).To(Equal("CN=good"))
}

// A root that has expired, or was renewed with the same key, is still the root that the cluster publishes.
func TestRootOfAnotherTime(t *testing.T) {
	g := NewWithT(t)
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	makeRoot := func(from, to time.Time) *x509.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: from, NotAfter: to,
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		}
		encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		g.Expect(err).NotTo(HaveOccurred())
		root, err := x509.ParseCertificate(encoded)
		g.Expect(err).NotTo(HaveOccurred())
		return root
	}
	issueBy := func(root *x509.Certificate, from, to time.Time) tls.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, DNSNames: []string{"a.example"}}
		encoded, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), key)
		g.Expect(err).NotTo(HaveOccurred())
		return tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}
	}
	day := 24 * time.Hour
	old := makeRoot(now.Add(-20*day), now.Add(-2*day))
	renewed := makeRoot(now.Add(-day), now.Add(20*day))
	for name, test := range map[string]struct {
		root        *x509.Certificate
		certificate tls.Certificate
	}{
		"the root has expired":                {old, issueBy(old, now.Add(-10*day), now.Add(10*day))},
		"root and certificate expired":        {old, issueBy(old, now.Add(-10*day), now.Add(-2*day))},
		"the root was renewed":                {renewed, issueBy(old, now.Add(-10*day), now.Add(10*day))},
		"expired before the root was renewed": {renewed, issueBy(old, now.Add(-10*day), now.Add(-5*day))},
	} {
		t.Run(name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AddCert(test.root)
			address := serveHTTP(t, &tls.Config{Certificates: []tls.Certificate{test.certificate}})
			facts := (&tlsprobe.Prober{Roots: roots, Limits: patient}).Probe(t.Context(), targetOf(address))
			NewWithT(t).Expect(facts.Trust).To(Equal(tlsprobe.Trusted), facts.Problem)
		})
	}
}

// selfSigned returns a certificate by its own key.
func selfSigned(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "self"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	change(template)
	encoded, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	g.Expect(err).NotTo(HaveOccurred())
	return tls.Certificate{Certificate: [][]byte{encoded}, PrivateKey: key}
}

// Texts, names and certificates of servers are bounded and printable.
func TestCertificatesAreBounded(t *testing.T) {
	g := NewWithT(t)
	evil := "evil\r\nreboot\x1b[2J" + strings.Repeat("x", 4000)
	certificate := selfSigned(t, func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: evil, Organization: []string{evil}}
		c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 400)
		for i := range 100 {
			c.DNSNames = append(c.DNSNames, fmt.Sprintf("%d.%s", i, strings.Repeat("n", 400)))
			c.IPAddresses = append(c.IPAddresses, net.IPv4(192, 0, 2, byte(i)))
		}
	})
	for range 3 {
		certificate.Certificate = append(certificate.Certificate, certificate.Certificate[0])
	}
	address := serveHTTP(t, &tls.Config{Certificates: []tls.Certificate{certificate}})
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("name-%d.example", i))
	}
	limits := patient
	limits.Certificates, limits.Names, limits.Bytes = 3, 40, 1<<20
	facts := (&tlsprobe.Prober{Roots: newAuthority(t).RootPool(), Limits: limits}).Probe(t.Context(), targetOf(address, names...))
	g.Expect(facts.Outcome).To(Equal(tlsprobe.Open))
	g.Expect(facts.Certificates).To(HaveLen(3))
	g.Expect(facts.UncoveredNames).To(Equal(names[:40]))
	for _, certificate := range facts.Certificates {
		g.Expect(certificate.Names).To(HaveLen(40))
		for _, text := range append(certificate.Names, certificate.Subject, certificate.Issuer) {
			g.Expect(len(text)).To(BeNumerically("<=", 256))
			g.Expect(text).NotTo(ContainSubstring("\n"))
			g.Expect(text).NotTo(ContainSubstring("\x1b"))
		}
		g.Expect(len(certificate.Serial)).To(BeNumerically("<=", 64))
	}
	limits.Names = 150
	facts = (&tlsprobe.Prober{Limits: limits}).Probe(t.Context(), targetOf(address))
	g.Expect(facts.Certificates[0].Names).To(HaveLen(150))
	g.Expect(facts.Certificates[0].Names[149]).To(Equal("192.0.2.49"))
}
