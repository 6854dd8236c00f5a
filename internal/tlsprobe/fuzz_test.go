// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// FuzzHostileServer lets a server send any bytes on each connection, and then close or
// stay silent. After `record` bytes of a real handshake the fuzzer finds its way to the
// certificate messages.
func FuzzHostileServer(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"), true)
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), false)
	f.Add([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"), false)
	f.Add(record(21, []byte{2, 70}), true)
	f.Add(record(21, []byte{1, 0}), false)
	f.Add(record(22, serverHello()), false)
	f.Add(record(22, append(serverHello(), 11, 0, 1, 0, 0, 0, 0xfd)), true)
	for _, highest := range []uint16{v10, v11, v12, v13} {
		f.Add(recordServer(f, highest), true)
	}
	roots := newAuthority(f).RootPool()
	f.Fuzz(func(t *testing.T, sent []byte, closes bool) {
		synctest.Test(t, func(t *testing.T) { probeBytes(t, roots, sent, closes) })
	})
}

// probeBytes probes a server that sends these bytes on each connection.
func probeBytes(t *testing.T, roots *x509.CertPool, sent []byte, closes bool) {
	g := NewWithT(t)
	counts := &counter{dial: pipeTo(func(conn net.Conn) {
		reading := make(chan struct{})
		go func() {
			defer close(reading)
			readForever(conn)
		}()
		_, err := conn.Write(sent)
		if err == nil && !closes {
			<-reading
		}
	})}
	limits := tlsprobe.Limits{Bytes: 8 << 10, Certificates: 2, Names: 3, Connection: time.Second, Target: 5 * time.Second}
	target := pipeTarget
	target.Names = []string{"192.0.2.1", "a.example", "", "*", "too many"}
	started := time.Now()
	facts := (&tlsprobe.Prober{Dial: counts.Dial, Roots: roots, Limits: limits}).Probe(t.Context(), target)

	g.Expect(time.Since(started)).To(BeNumerically("<=", limits.Target))
	g.Expect(counts.bytesRead()).To(HaveEach(BeNumerically("<=", limits.Bytes)))
	g.Expect(facts.Connections).To(BeNumerically("<=", 20))
	g.Expect(facts.Problem).NotTo(ContainSubstring("fault in this program"))
	g.Expect(facts.Trust).NotTo(Equal(tlsprobe.Trusted))
	g.Expect(len(facts.Certificates)).To(BeNumerically("<=", limits.Certificates))
	g.Expect(len(facts.UncoveredNames)).To(BeNumerically("<=", limits.Names))
	g.Expect(facts.LowestVersion <= facts.HighestVersion).To(BeTrue())
	texts := []string{facts.Problem}
	for _, certificate := range facts.Certificates {
		g.Expect(len(certificate.Names)).To(BeNumerically("<=", limits.Names))
		texts = append(texts, certificate.Subject, certificate.Issuer, certificate.Serial)
		texts = append(texts, certificate.Names...)
	}
	for _, text := range texts {
		g.Expect(len(text)).To(BeNumerically("<=", 256))
		g.Expect(strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })).To(BeFalse(), text)
	}
	if facts.Outcome != tlsprobe.Open {
		g.Expect(facts.LowestVersion).To(BeZero())
		g.Expect(facts.Certificates).To(BeEmpty())
	}
}

// recordServer returns the bytes that a real server sends to the first handshake.
func recordServer(f *testing.F, highest uint16) []byte {
	config := &tls.Config{
		MinVersion: v10, MaxVersion: highest, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{issue(f, newAuthority(f), tlsservers.Request{Names: []string{"a.example"}})},
	}
	client, server := net.Pipe()
	sent := &recorder{Conn: server}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(sent, config).Handshake()
		_ = server.Close()
	}()
	_ = tls.Client(client, &tls.Config{InsecureSkipVerify: true, MinVersion: v10}).Handshake()
	_ = client.Close()
	<-done
	return sent.bytes
}

// recorder keeps what is written.
type recorder struct {
	net.Conn
	bytes []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.bytes = append(r.bytes, p...)
	return r.Conn.Write(p)
}
