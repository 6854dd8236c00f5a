// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"crypto/tls"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// TestVersionsSuitesAndDemands probes web servers on loopback that differ in one respect.
func TestVersionsSuitesAndDemands(t *testing.T) {
	authority := newAuthority(t)
	ecdsa := issue(t, authority, tlsservers.Request{Names: []string{"127.0.0.1"}})
	rsa := issue(t, authority, tlsservers.Request{Names: []string{"127.0.0.1"}, RSA: true})
	open := func(lowest, highest uint16, demand tlsprobe.ClientCertificate, connections int, weak ...uint16) tlsprobe.Facts {
		return tlsprobe.Facts{
			Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, Trust: tlsprobe.Trusted, ClientCertificate: demand,
			LowestVersion: lowest, HighestVersion: highest, WeakCipherSuites: weak, Connections: connections,
		}
	}
	const none, requested, required = tlsprobe.ClientCertificateNotRequested, tlsprobe.ClientCertificateRequested, tlsprobe.ClientCertificateRequired
	tests := map[string]struct {
		config *tls.Config
		want   tlsprobe.Facts
	}{
		"as Go's default":                      {&tls.Config{}, open(v12, v13, none, 5)},
		"TLS 1.3 alone":                        {&tls.Config{MinVersion: v13}, open(v13, v13, none, 4)},
		"TLS 1.3 alone, certificate requested": {&tls.Config{MinVersion: v13, ClientAuth: tls.RequestClientCert}, open(v13, v13, requested, 4)},
		"TLS 1.3 alone, certificate verified if given": {
			&tls.Config{MinVersion: v13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: authority.RootPool()}, open(v13, v13, requested, 4),
		},
		"TLS 1.3 alone, any certificate required": {&tls.Config{MinVersion: v13, ClientAuth: tls.RequireAnyClientCert}, open(v13, v13, required, 4)},
		"TLS 1.3 alone, certificate required": {
			&tls.Config{MinVersion: v13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.RootPool()}, open(v13, v13, required, 4),
		},
		"TLS 1.2 alone":                        {&tls.Config{MaxVersion: v12}, open(v12, v12, none, 5)},
		"TLS 1.2 alone, certificate requested": {&tls.Config{MaxVersion: v12, ClientAuth: tls.RequestClientCert}, open(v12, v12, requested, 5)},
		"TLS 1.2 alone, certificate required":  {&tls.Config{MaxVersion: v12, ClientAuth: tls.RequireAnyClientCert}, open(v12, v12, required, 5)},
		"certificate required": {
			&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.RootPool()}, open(v12, v13, required, 5),
		},
		"certificate requested": {&tls.Config{ClientAuth: tls.RequestClientCert}, open(v12, v13, requested, 5)},
		"certificate required in TLS 1.3 and not in TLS 1.2": {
			&tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				config := &tls.Config{Certificates: []tls.Certificate{ecdsa}, ClientAuth: tls.RequireAnyClientCert}
				if hello.SupportedVersions[0] < v13 {
					config.ClientAuth = tls.NoClientCert
				}
				return config, nil
			}},
			open(v12, v13, none, 5),
		},
		"TLS 1.1 alone":   {&tls.Config{MinVersion: v11, MaxVersion: v11}, open(v11, v11, none, 6)},
		"TLS 1.0 alone":   {&tls.Config{MinVersion: v10, MaxVersion: v10}, open(v10, v10, none, 6)},
		"TLS 1.0 and 1.1": {&tls.Config{MinVersion: v10, MaxVersion: v11}, open(v10, v11, none, 6)},
		"TLS 1.1 and up":  {&tls.Config{MinVersion: v11}, open(v11, v13, none, 6)},
		"all versions":    {&tls.Config{MinVersion: v10}, open(v10, v13, none, 6)},
		"TLS 1.0 and 1.1 with required": {
			&tls.Config{MinVersion: v10, MaxVersion: v11, ClientAuth: tls.RequireAnyClientCert}, open(v10, v11, required, 6),
		},
		"all versions with required": {&tls.Config{MinVersion: v10, ClientAuth: tls.RequireAnyClientCert}, open(v10, v13, required, 6)},
		"TLS 1.1 with required":      {&tls.Config{MinVersion: v11, MaxVersion: v11, ClientAuth: tls.RequireAnyClientCert}, open(v11, v11, required, 6)},
		"RC4": {
			&tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}, Certificates: []tls.Certificate{ecdsa}},
			open(v12, v13, none, 6, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA),
		},
		"3DES beside a good suite": {
			&tls.Config{CipherSuites: []uint16{
				tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
			}, Certificates: []tls.Certificate{rsa}},
			open(v12, v13, none, 6, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA),
		},
		"CBC with SHA-1 counts as strong": {
			&tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}, Certificates: []tls.Certificate{rsa}}, open(v12, v13, none, 5),
		},
		"weak suites that need TLS 1.2, on TLS 1.1": {
			&tls.Config{CipherSuites: allSuites(), Certificates: []tls.Certificate{rsa}, MinVersion: v11, MaxVersion: v11},
			open(v11, v11, none, 12, tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
				tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA),
		},
		"every weak suite for a key of RSA": {
			&tls.Config{CipherSuites: allSuites(), Certificates: []tls.Certificate{rsa}},
			open(v12, v13, none, 15, tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA,
				tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
				tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
				tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256),
		},
		"weak suites with a required certificate": {
			&tls.Config{MaxVersion: v12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}, Certificates: []tls.Certificate{rsa}, ClientAuth: tls.RequireAnyClientCert},
			open(v12, v12, required, 6, tls.TLS_RSA_WITH_AES_128_GCM_SHA256),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := test.config.Clone()
			if config.Certificates == nil {
				config.Certificates = []tls.Certificate{ecdsa}
			}
			prober := &tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}
			facts := prober.Probe(t.Context(), targetOf(serveHTTP(t, config), "127.0.0.1"))
			requireFacts(t, facts, test.want)
			requireNoGoroutine(t)
			g := NewWithT(t)
			g.Expect(facts.Certificates).To(HaveLen(1))
			g.Expect(facts.Connect).To(BeNumerically(">", 0))
			g.Expect(facts.Handshake).To(BeNumerically(">", 0))
		})
	}
}

// allSuites returns all suites of crypto/tls up to TLS 1.2.
func allSuites() []uint16 {
	var ids []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, suite.ID)
	}
	return ids
}

// A list of the caller replaces the list of crypto/tls; suites that cannot be tried are
// passed over.
func TestWeakSuitesOfTheCaller(t *testing.T) {
	g := NewWithT(t)
	authority := newAuthority(t)
	address := serveHTTP(t, &tls.Config{Certificates: []tls.Certificate{issue(t, authority, tlsservers.Request{RSA: true})}})
	probe := func(weak ...uint16) tlsprobe.Facts {
		return (&tlsprobe.Prober{WeakCipherSuites: weak, Limits: patient}).Probe(t.Context(), targetOf(address))
	}
	const notKnown = 0x0001
	g.Expect(probe(tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, notKnown, tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA).
		WeakCipherSuites).To(Equal([]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA}))
	facts := probe([]uint16{}...)
	g.Expect(facts.WeakCipherSuites).To(BeEmpty())
	facts = probe(notKnown, tls.TLS_AES_128_GCM_SHA256)
	g.Expect(facts.WeakCipherSuites).To(BeEmpty())
	g.Expect(facts.CipherSuitesUnknown).To(BeFalse())
	g.Expect(facts.Connections).To(Equal(4))
}

// A server may choose its certificate by the name that the client asks for.
func TestServerNameIsSent(t *testing.T) {
	g := NewWithT(t)
	authority := newAuthority(t)
	byName := issue(t, authority, tlsservers.Request{Name: "by name", Names: []string{"api.example"}})
	other := issue(t, authority, tlsservers.Request{Name: "default", Names: []string{"127.0.0.1"}})
	target := targetOf(serveHTTP(t, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "api.example" {
			return &byName, nil
		}
		return &other, nil
	}}))
	prober := &tlsprobe.Prober{Limits: patient}
	g.Expect(prober.Probe(t.Context(), target).Certificates[0].Subject).To(Equal("CN=default"))
	target.ServerName = "api.example"
	g.Expect(prober.Probe(t.Context(), target).Certificates[0].Subject).To(Equal("CN=by name"))
}
