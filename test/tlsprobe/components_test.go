// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// goodFacts are the facts about a component of Kubernetes with its defaults.
func goodFacts(demand tlsprobe.ClientCertificate, trust tlsprobe.Trust) tlsprobe.Facts {
	return tlsprobe.Facts{
		Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, LowestVersion: tls.VersionTLS12, HighestVersion: tls.VersionTLS13,
		ClientCertificate: demand, Trust: trust, Connections: 5,
	}
}

// expectFacts waits until a port answers, and compares the facts about the
// port with the expected ones. The certificate must cover the port's address.
func expectFacts(t *testing.T, port int, roots *x509.CertPool, want tlsprobe.Facts) tlsprobe.Facts {
	t.Helper()
	g := NewWithT(t)
	prober := &tlsprobe.Prober{Roots: roots, Limits: tlsprobe.Limits{Connection: 20 * time.Second, Target: time.Minute}}
	target := tlsprobe.Target{Address: netip.MustParseAddr("127.0.0.1"), Port: uint16(port), Names: []string{"127.0.0.1"}}
	g.Eventually(func() tlsprobe.Outcome { return prober.Probe(t.Context(), target).Outcome }, deadline, interval).
		ShouldNot(Equal(tlsprobe.Refused))
	facts := prober.Probe(t.Context(), target)
	if difference := cmp.Diff(want, facts, cmpopts.IgnoreFields(tlsprobe.Facts{}, "Connect", "Handshake", "Certificates")); difference != "" {
		t.Errorf("the facts differ (-want +got):\n%s", difference)
	}
	t.Logf("%s on port %d, lowest version %s, client certificate %q, trust %q, %d connections, connected in %s, handshake in %s",
		facts.Outcome, port, tls.VersionName(facts.LowestVersion), facts.ClientCertificate, facts.Trust, facts.Connections,
		facts.Connect, facts.Handshake)
	return facts
}

func newAuthority(t *testing.T) *tlsservers.Authority {
	t.Helper()
	authority, err := tlsservers.NewAuthority("cluster CA")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return authority
}

func TestAPIServer(t *testing.T) {
	g := NewWithT(t)
	host, err := url.Parse(cluster.Config.Host)
	g.Expect(err).NotTo(HaveOccurred())
	address := host.Host
	if address == "" {
		address = cluster.Config.Host // without a scheme
	}
	parsed, err := netip.ParseAddrPort(address)
	g.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	g.Expect(roots.AppendCertsFromPEM(cluster.Config.CAData)).To(BeTrue())

	facts := expectFacts(t, int(parsed.Port()), roots, goodFacts(tlsprobe.ClientCertificateRequested, tlsprobe.Trusted))
	g.Expect(facts.Certificates).NotTo(BeEmpty())
	expectFacts(t, int(parsed.Port()), newAuthority(t).RootPool(), goodFacts(tlsprobe.ClientCertificateRequested, tlsprobe.NotTrusted))
}

func TestEtcdWithClientCertificates(t *testing.T) {
	authority := newAuthority(t)
	ports := startEtcd(t, "good-etcd", writeFiles(t, authority, tlsservers.Request{Names: []string{"127.0.0.1"}}), true)
	want := goodFacts(tlsprobe.ClientCertificateRequired, tlsprobe.Trusted)
	expectFacts(t, ports.client, authority.RootPool(), want)
	expectFacts(t, ports.peer, authority.RootPool(), want)
	// The metrics port of many installations has no TLS.
	expectFacts(t, ports.metrics, authority.RootPool(), plainFacts())
}

func plainFacts() tlsprobe.Facts {
	return tlsprobe.Facts{Outcome: tlsprobe.PlaintextOnly, Plaintext: tlsprobe.PlaintextAnswered, Connections: 2}
}

func TestEtcdWithoutClientCertificates(t *testing.T) {
	g := NewWithT(t)
	authority := newAuthority(t)
	expires := time.Now().Add(20 * time.Hour)
	ports := startEtcd(t, "open-etcd", writeFiles(t, authority, tlsservers.Request{Names: []string{"192.0.2.1"}, NotAfter: expires}), false)
	want := goodFacts(tlsprobe.ClientCertificateNotRequested, tlsprobe.Trusted)
	want.UncoveredNames = []string{"127.0.0.1"}
	facts := expectFacts(t, ports.client, authority.RootPool(), want)
	g.Expect(facts.Certificates[0].NotAfter).To(BeTemporally("~", expires, time.Second))
	g.Expect(facts.Certificates[0].Names).To(Equal([]string{"192.0.2.1"}))
}

func TestEtcdWithoutTLS(t *testing.T) {
	ports := startEtcd(t, "plain-etcd", files{}, false)
	expectFacts(t, ports.client, nil, plainFacts())
	expectFacts(t, ports.peer, nil, plainFacts())
}

func TestControllerManager(t *testing.T) {
	authority := newAuthority(t)
	f := writeFiles(t, authority, tlsservers.Request{Names: []string{"127.0.0.1"}})
	port := startComponent(t, "kube-controller-manager", "good-controller-manager", "--controllers=ttl-controller",
		"--tls-cert-file="+f.certificate, "--tls-private-key-file="+f.key)
	expectFacts(t, port, authority.RootPool(), goodFacts(tlsprobe.ClientCertificateRequested, tlsprobe.Trusted))
}

// A scheduler with its defaults makes its own certificate.
func TestScheduler(t *testing.T) {
	port := startComponent(t, "kube-scheduler", "default-scheduler")
	expectFacts(t, port, newAuthority(t).RootPool(), goodFacts(tlsprobe.ClientCertificateRequested, tlsprobe.NotTrusted))
}

// A scheduler can be configured to accept old versions and weak suites.
func TestSchedulerWithOldVersionsAndWeakSuites(t *testing.T) {
	authority := newAuthority(t)
	f := writeFiles(t, authority, tlsservers.Request{Names: []string{"127.0.0.1"}, RSA: true})
	port := startComponent(t, "kube-scheduler", "old-scheduler", "--tls-cert-file="+f.certificate, "--tls-private-key-file="+f.key,
		"--tls-min-version=VersionTLS10", "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_3DES_EDE_CBC_SHA,TLS_RSA_WITH_AES_128_CBC_SHA")
	want := goodFacts(tlsprobe.ClientCertificateRequested, tlsprobe.Trusted)
	want.LowestVersion = tls.VersionTLS10
	want.WeakCipherSuites = []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	want.Connections = 8
	expectFacts(t, port, authority.RootPool(), want)
}

// TestDeliberateFaults shows that a probe finds exactly the one fault of each server.
func TestDeliberateFaults(t *testing.T) {
	authority := newAuthority(t)
	good := goodFacts(tlsprobe.ClientCertificateRequired, tlsprobe.Trusted)
	tests := map[tlsservers.Fault]func(want *tlsprobe.Facts){
		tlsservers.NoFault:              func(*tlsprobe.Facts) {},
		tlsservers.NoClientCertificates: func(want *tlsprobe.Facts) { want.ClientCertificate = tlsprobe.ClientCertificateNotRequested },
		tlsservers.OldVersion: func(want *tlsprobe.Facts) {
			want.LowestVersion, want.HighestVersion, want.Connections = tls.VersionTLS10, tls.VersionTLS11, 6
		},
		tlsservers.WeakCipherSuite: func(want *tlsprobe.Facts) {
			want.WeakCipherSuites, want.Connections = []uint16{tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA}, 6
		},
		tlsservers.ExpiresTomorrow: func(*tlsprobe.Facts) {},
		tlsservers.Expired:         func(*tlsprobe.Facts) {},
		tlsservers.OtherName:       func(want *tlsprobe.Facts) { want.UncoveredNames = []string{"127.0.0.1"} },
		tlsservers.OtherAuthority:  func(want *tlsprobe.Facts) { want.Trust = tlsprobe.NotTrusted },
		tlsservers.PlaintextPort:   func(want *tlsprobe.Facts) { *want = plainFacts() },
	}
	for fault, change := range tests {
		t.Run(string(fault), func(t *testing.T) {
			server, err := tlsservers.StartFaulty("127.0.0.1:0", authority, fault)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			defer server.Close()
			want := good
			change(&want)
			facts := expectFacts(t, int(server.Address().Port()), authority.RootPool(), want)
			if fault == tlsservers.ExpiresTomorrow {
				NewWithT(t).Expect(facts.Certificates[0].NotAfter).To(BeTemporally("~", time.Now().Add(23*time.Hour), time.Minute))
			}
			if fault == tlsservers.Expired {
				NewWithT(t).Expect(facts.Certificates[0].NotAfter).To(BeTemporally("<", time.Now()))
			}
		})
	}
	t.Run("stalled and senseless", func(t *testing.T) {
		g := NewWithT(t)
		for fault, want := range map[tlsservers.Fault]tlsprobe.Outcome{tlsservers.HalfOpen: tlsprobe.Silent, tlsservers.GarbageBytes: tlsprobe.Garbage} {
			server, err := tlsservers.StartFaulty("127.0.0.1:0", authority, fault)
			g.Expect(err).NotTo(HaveOccurred())
			defer server.Close()
			address, err := netip.ParseAddrPort("127.0.0.1:" + strconv.Itoa(int(server.Address().Port())))
			g.Expect(err).NotTo(HaveOccurred())
			prober := &tlsprobe.Prober{Limits: tlsprobe.Limits{Connection: 2 * time.Second}}
			g.Expect(prober.Probe(t.Context(), tlsprobe.Target{Address: address.Addr(), Port: address.Port()}).Outcome).To(Equal(want))
		}
	})
}
