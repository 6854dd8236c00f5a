// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

const (
	v10, v11, v12, v13 = tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13

	loopback = "127.0.0.1:0"
)

// patient limits never end a probe of a server that answers, however slow the machine is.
var patient = tlsprobe.Limits{Connection: time.Minute, Target: 10 * time.Minute}

// newAuthority returns an authority for a test.
func newAuthority(t testing.TB) *tlsservers.Authority {
	t.Helper()
	authority, err := tlsservers.NewAuthority("cluster CA")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return authority
}

// issue returns a certificate for a test.
func issue(t testing.TB, authority *tlsservers.Authority, request tlsservers.Request) tls.Certificate {
	t.Helper()
	certificate, err := authority.IssueCertificate(request)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return certificate
}

// serve starts a server that ends with the test.
func serve(t testing.TB, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	server, err := tlsservers.StartServer(loopback, handle)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = server.Close() })
	return server.Address()
}

// serveHTTP starts a web server that ends with the test.
func serveHTTP(t testing.TB, config *tls.Config) netip.AddrPort {
	t.Helper()
	server, err := tlsservers.StartHTTP(loopback, config)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = server.Close() })
	return server.Address()
}

// targetOf returns a port as a target whose certificate must cover the names.
func targetOf(port netip.AddrPort, names ...string) tlsprobe.Target {
	return tlsprobe.Target{Address: port.Addr(), Port: port.Port(), Names: names}
}

// ignoreDetails compares facts without durations and without the certificates.
var ignoreDetails = cmpopts.IgnoreFields(tlsprobe.Facts{}, "Connect", "Handshake", "Certificates")

// requireFacts compares facts, except durations and certificates.
func requireFacts(t *testing.T, got, want tlsprobe.Facts) {
	t.Helper()
	if difference := cmp.Diff(want, got, ignoreDetails); difference != "" {
		t.Errorf("the facts differ (-want +got):\n%s", difference)
	}
}

// requireNoGoroutine fails the test if a goroutine of the package is left.
func requireNoGoroutine(t *testing.T) {
	t.Helper()
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
	NewWithT(t).Expect(stacks.String()).NotTo(ContainSubstring("internal/tlsprobe."))
}

// counter counts the bytes read from each of the connections that it opens.
type counter struct {
	mutex sync.Mutex
	dial  tlsprobe.Dial
	read  []*int
}

// Dial opens a connection, as a tlsprobe.Dial.
func (c *counter) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := c.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	count := new(int)
	c.read = append(c.read, count)
	return &countedConn{Conn: conn, count: count}, nil
}

// bytesRead returns the bytes read from each connection.
func (c *counter) bytesRead() []int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var counts []int
	for _, count := range c.read {
		counts = append(counts, *count)
	}
	return counts
}

type countedConn struct {
	net.Conn
	count *int
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	*c.count += n
	return n, err
}
