// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// peeked is a connection of which bytes were read in advance.
type peeked struct {
	net.Conn
	reader *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// serveBoth serves TLS, and to a client that does not begin with a ClientHello whatever
// plain does. Without config, a ClientHello ends the connection.
func serveBoth(config *tls.Config, plain func(net.Conn)) func(net.Conn) {
	web := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
	return func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		first, err := reader.Peek(1)
		if err != nil {
			return
		}
		if first[0] == 0x16 && config == nil {
			return
		}
		conn = &peeked{Conn: conn, reader: reader}
		if first[0] != 0x16 {
			plain(conn)
			return
		}
		tlsservers.ServeHTTP(web, conn, config)
	}
}

// serveHTTPOn serves one connection without TLS.
func serveHTTPOn(conn net.Conn) {
	tlsservers.ServeHTTP(&http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}, conn, nil)
}

// answerRequest returns a handler that reads a request, and answers with a text.
func answerRequest(text string) func(net.Conn) {
	return func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		for {
			line, err := reader.ReadString('\n')
			if err != nil || line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(conn, text)
	}
}

// TestPlaintext probes ports that answer requests without TLS, and some that also speak
// TLS.
func TestPlaintext(t *testing.T) {
	authority := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{issue(t, authority, tlsservers.Request{})}}
	const settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"
	nginx := "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 60\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>"
	apache := "HTTP/1.1 400 Bad Request\r\n\r\nReason: You're speaking plain HTTP to an SSL-enabled server port.<br />"
	tests := map[string]struct {
		handle    func(net.Conn)
		outcome   tlsprobe.Outcome
		plaintext tlsprobe.Plaintext
		problem   string
	}{
		"a web server":              {serveHTTPOn, tlsprobe.PlaintextOnly, tlsprobe.PlaintextAnswered, ""},
		"gRPC":                      {func(conn net.Conn) { _, _ = io.WriteString(conn, settings); tlsservers.ReadForever(conn) }, tlsprobe.PlaintextOnly, tlsprobe.PlaintextAnswered, ""},
		"both":                      {serveBoth(config, serveHTTPOn), tlsprobe.Open, tlsprobe.PlaintextAnswered, ""},
		"both, plain part says 401": {serveBoth(config, answerRequest("HTTP/1.0 401 Unauthorized\r\n\r\n")), tlsprobe.Open, tlsprobe.PlaintextAnswered, ""},
		"both, plain part says 400 without reason": {serveBoth(config, answerRequest("HTTP/1.1 400 Bad Request\r\n\r\nno")), tlsprobe.Open, tlsprobe.PlaintextAnswered, ""},
		"both, plain part says a long 400":         {serveBoth(config, answerRequest("HTTP/1.1 400 Bad Request\r\n\r\n"+strings.Repeat("x", 1<<20))), tlsprobe.Open, tlsprobe.PlaintextAnswered, ""},
		"both, plain part is gRPC":                 {serveBoth(config, answerRequest(settings)), tlsprobe.Open, tlsprobe.PlaintextAnswered, ""},
		"TLS, as nginx":                            {serveBoth(config, answerRequest(nginx)), tlsprobe.Open, tlsprobe.PlaintextNotAnswered, ""},
		"TLS, as Apache":                           {serveBoth(config, answerRequest(apache)), tlsprobe.Open, tlsprobe.PlaintextNotAnswered, ""},
		"TLS, alert to the request":                {serveBoth(config, answerRequest("\x15\x03\x01\x00\x02\x02\x46")), tlsprobe.Open, tlsprobe.PlaintextNotAnswered, ""},
		"TLS, closes on the request":               {serveBoth(config, answerRequest("")), tlsprobe.Open, tlsprobe.PlaintextNotAnswered, ""},
		"TLS, resets on the request":               {serveBoth(config, resetConnection), tlsprobe.Open, tlsprobe.PlaintextNotAnswered, ""},
		"TLS, garbage to the request":              {serveBoth(config, answerRequest("SSH-2.0-x\r\n")), tlsprobe.Open, tlsprobe.PlaintextUnknown, "a request without TLS: the answer is neither HTTP nor TLS"},
		"TLS, cut answer to the request":           {serveBoth(config, answerRequest("HTTP/1")), tlsprobe.Open, tlsprobe.PlaintextUnknown, "a request without TLS: the answer is neither HTTP nor TLS"},
		"no TLS, and a demand for TLS":             {serveBoth(nil, answerRequest(nginx)), tlsprobe.Silent, tlsprobe.PlaintextUnknown, "no TLS: the server closed the connection; a request without TLS is answered by a demand for TLS"},
		"no TLS, and an alert to the request":      {serveBoth(nil, answerRequest("\x15\x03\x01\x00\x02\x02\x46")), tlsprobe.Open, tlsprobe.PlaintextNotAnswered, ""},
		"SSH": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n")
			tlsservers.ReadForever(conn)
		}, tlsprobe.Garbage, tlsprobe.PlaintextUnknown, "no TLS: tls: first record does not look like a TLS handshake"},
		"garbage":        {tlsservers.SendGarbage, tlsprobe.Garbage, tlsprobe.PlaintextUnknown, ""},
		"zeros":          {func(conn net.Conn) { _, _ = io.Copy(conn, io.LimitReader(zeros{}, 1<<20)) }, tlsprobe.Garbage, tlsprobe.PlaintextUnknown, ""},
		"closes at once": {func(conn net.Conn) {}, tlsprobe.Silent, tlsprobe.PlaintextNotAnswered, ""},
		"resets at once": {resetConnection, tlsprobe.Silent, tlsprobe.PlaintextNotAnswered, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			facts := (&tlsprobe.Prober{Roots: authority.RootPool(), Limits: patient}).Probe(t.Context(), targetOf(serve(t, test.handle)))
			g.Expect(facts.Outcome).To(Equal(test.outcome), facts.Problem)
			g.Expect(facts.Plaintext).To(Equal(test.plaintext), facts.Problem)
			switch {
			case test.problem != "":
				g.Expect(facts.Problem).To(Equal(test.problem))
			case test.outcome == tlsprobe.Open && test.plaintext == tlsprobe.PlaintextNotAnswered && name[:3] == "TLS":
				g.Expect(facts.Problem).To(BeEmpty())
			}
			if test.outcome != tlsprobe.Open {
				g.Expect(facts.Connections).To(Equal(2))
				g.Expect(facts.LowestVersion).To(BeZero())
				g.Expect(facts.Certificates).To(BeEmpty())
				g.Expect(facts.Handshake).To(BeZero())
			}
			requireNoGoroutine(t)
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// resetConnection ends a connection with a reset (RST) instead of an end (FIN), after the
// first byte: otherwise the reset may come before the client knows of the connection.
func resetConnection(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 1))
	if wrapped, is := conn.(*peeked); is {
		conn = wrapped.Conn
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}
