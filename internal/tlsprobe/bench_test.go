// SPDX-License-Identifier: Apache-2.0

//go:build unix

package tlsprobe_test

import (
	"crypto/tls"
	"syscall"
	"testing"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// BenchmarkGoodTarget measures the cost of all facts about one good server. The
// server runs in another process, so that its work does not count. "core%" is the
// load of one core by 50 nodes with 6 components each, at an interval of 300 seconds.
//
//	go test ./internal/tlsprobe -bench GoodTarget -run '^$' -benchmem
func BenchmarkGoodTarget(b *testing.B) {
	authority := newAuthority(b)
	for name, demand := range map[string]tls.ClientAuthType{"NoClientCertificate": tls.NoClientCert, "ClientCertificateRequired": tls.RequireAnyClientCert} {
		b.Run(name, func(b *testing.B) {
			config := &tls.Config{
				MinVersion: tls.VersionTLS12, ClientAuth: demand,
				Certificates: []tls.Certificate{issue(b, authority, tlsservers.Request{Names: []string{"127.0.0.1"}, RSA: true})},
			}
			address := startServerProcess(b, config)
			prober := &tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}
			target := targetOf(address, "127.0.0.1")
			connections := 0
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				facts := prober.Probe(b.Context(), target)
				connections += facts.Connections
				if facts.Outcome != tlsprobe.Open || facts.Problem != "" || facts.Trust != tlsprobe.Trusted {
					b.Fatalf("the server is not good: %+v", facts)
				}
			}
			perTarget := (cpuTime(b) - before).Seconds() / float64(b.N)
			const targets, interval = 50 * 6, 300
			b.ReportMetric(perTarget*1e3, "cpu-ms/target")
			b.ReportMetric(perTarget*targets/interval*100, "core%")
			b.ReportMetric(float64(connections)/float64(b.N), "connections/target")
			if perTarget := connections / b.N; perTarget > 8 {
				b.Errorf("a good target costs %d connections, not 8 at most", perTarget)
			}
		})
	}
}

// cpuTime returns the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
