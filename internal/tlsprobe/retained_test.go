// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// Against a server that sends other certificates on each connection, a probe keeps the certificates
// of one connection, and not of all. The test measures the memory in use before each connection.
func TestOneChainIsKept(t *testing.T) {
	const length = 200 // of a chain, in certificates; the limit on bytes allows more
	g := NewWithT(t)
	authority := newAuthority(t)
	chains := make([]tls.Certificate, 0, 8)
	for range cap(chains) {
		chain := issue(t, authority, tlsservers.Request{Names: []string{"127.0.0.1"}})
		chain.Certificate = chain.Certificate[:1]
		for range length {
			chain.Certificate = append(chain.Certificate, issue(t, authority, tlsservers.Request{Name: "more"}).Certificate[0])
		}
		chains = append(chains, chain)
	}
	var used atomic.Int32
	target := targetOf(serveHTTP(t, &tls.Config{MinVersion: v10, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &chains[used.Add(1)-1], nil
	}}))

	var kept []int64
	prober := &tlsprobe.Prober{Limits: patient, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		kept = append(kept, liveBytes())
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	facts := prober.Probe(t.Context(), target)
	g.Expect(facts.LowestVersion).To(BeEquivalentTo(v10), facts.Problem)
	g.Expect(used.Load()).To(BeNumerically(">=", 4), "a chain for each version")
	g.Expect(kept).To(HaveLen(6))
	ofOne := kept[1] - kept[0] // after the first handshake
	g.Expect(ofOne).To(BeNumerically(">", length<<10), "a chain is large compared with all else")
	for at, bytes := range kept[2:] {
		g.Expect(bytes-kept[0]).To(BeNumerically("<", ofOne*3/2), "before connection %d", at+3)
	}
}

// liveBytes returns the size of all live objects.
func liveBytes() int64 {
	runtime.GC()
	runtime.GC() // frees what finalizers and pools kept in the first collection
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc)
}
