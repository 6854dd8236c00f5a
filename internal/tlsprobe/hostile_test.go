// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// pipeTarget is a target behind a pipe instead of a network.
var pipeTarget = tlsprobe.Target{Address: netip.MustParseAddr("192.0.2.1"), Port: 6443}

// pipeTo returns a Dial that connects to a handler by a pipe in memory. In a bubble of synctest
// the clock advances at once while all goroutines wait, and a leaked goroutine fails the test.
func pipeTo(handle func(net.Conn)) tlsprobe.Dial {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			handle(server)
		}()
		return client, nil
	}
}

func readForever(conn net.Conn) { tlsservers.ReadForever(conn) }

// sendForever sends the output of fill over and over, and discards all input.
func sendForever(begin, repeat []byte) func(net.Conn) {
	return func(conn net.Conn) {
		go readForever(conn)
		if _, err := conn.Write(begin); err != nil {
			return
		}
		for {
			if _, err := conn.Write(repeat); err != nil {
				return
			}
		}
	}
}

// sendSlowly sends bytes, one a second, and then nothing.
func sendSlowly(bytes []byte) func(net.Conn) {
	return func(conn net.Conn) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			readForever(conn)
		}()
		for i := range bytes {
			select {
			case <-ended:
				return
			case <-time.After(time.Second):
			}
			if _, err := conn.Write(bytes[i : i+1]); err != nil {
				return
			}
		}
		<-ended
	}
}

// record returns a TLS record.
func record(kind byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(len(content))), content...)
}

// serverHello chooses TLS 1.2 and TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.
func serverHello() []byte {
	hello := append([]byte{3, 3}, make([]byte, 32)...) // version, random
	hello = append(hello, 0, 0xc0, 0x2b, 0, 0, 5, 0xff, 1, 0, 1, 0)
	return append([]byte{2, 0, 0, byte(len(hello))}, hello...)
}

// endlessCertificate begins a certificate message of the given length, which never ends.
func endlessCertificate(length int) func(net.Conn) {
	begin := record(22, append(serverHello(), 11, byte(length>>16), byte(length>>8), byte(length)))
	return sendForever(begin, record(22, make([]byte, 16<<10)))
}

// TestHostileServers shows that a probe of a hostile server ends in a known time, reads a
// known number of bytes, and leaves no goroutine.
func TestHostileServers(t *testing.T) {
	const second = time.Second
	limits := tlsprobe.Limits{Connection: 3500 * time.Millisecond, Target: 11 * second, Bytes: 64 << 10}
	unknown := []uint16{v10, v11, v12, v13}
	tests := map[string]struct {
		handle  func(net.Conn)
		limits  tlsprobe.Limits
		takes   time.Duration
		atLeast int // bytes that some connection must have read
		want    tlsprobe.Facts
	}{
		"never answers": {
			readForever, limits, 7 * second, 0,
			tlsprobe.Facts{Outcome: tlsprobe.Silent, Problem: "no TLS: no answer in time", Connections: 2},
		},
		"never reads": {
			func(conn net.Conn) { _, _ = conn.Read(nil); <-endOf(conn) }, limits, 7 * second, 0,
			tlsprobe.Facts{Outcome: tlsprobe.Silent, Problem: "no TLS: no answer in time", Connections: 2},
		},
		"slow with a handshake": {
			sendSlowly(record(22, serverHello())), limits, 11 * second, 3,
			tlsprobe.Facts{
				Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, UnknownVersions: unknown, CipherSuitesUnknown: true, Connections: 4,
			},
		},
		"slow with HTTP": {
			sendSlowly([]byte("HTTP/1.1 200 OK\r\n\r\n")), limits, 7 * second, 2,
			tlsprobe.Facts{Outcome: tlsprobe.Garbage, Problem: "no TLS: no answer in time", Connections: 2},
		},
		"garbage without an end": {
			sendForever(nil, []byte{0xff, 0xfe, 0xfd}), limits, 0, 3,
			tlsprobe.Facts{Outcome: tlsprobe.Garbage, Problem: "no TLS: tls: first record does not look like a TLS handshake", Connections: 2},
		},
		"400 without an end": {
			sendForever([]byte("HTTP/1.1 400 no\r\n"), []byte("X: y\r\n")), limits, 0, 4 << 10,
			tlsprobe.Facts{Outcome: tlsprobe.PlaintextOnly, Plaintext: tlsprobe.PlaintextAnswered, Connections: 2},
		},
		"certificate message without an end": {
			endlessCertificate(200 << 10), limits, 0, 64 << 10,
			tlsprobe.Facts{
				Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, LowestVersion: v12, HighestVersion: v12, CipherSuitesUnknown: true,
				UnknownVersions: []uint16{v10, v11, v13}, Connections: 7,
			},
		},
		"certificate message of 16 MiB": {
			endlessCertificate(1<<24 - 1), limits, 0, 58,
			tlsprobe.Facts{
				Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, LowestVersion: v12, HighestVersion: v12, CipherSuitesUnknown: true,
				UnknownVersions: []uint16{v10, v11, v13}, Connections: 7,
			},
		},
		"chooses a version, and refuses": {
			sendForever(append(record(22, serverHello()), record(21, []byte{2, 40})...), []byte{0}), limits, 0, 58,
			tlsprobe.Facts{
				Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, LowestVersion: v12, HighestVersion: v12, CipherSuitesUnknown: true,
				UnknownVersions: []uint16{v10, v11, v13}, Connections: 7,
			},
		},
		"handshake records without an end": {
			sendForever(nil, record(22, make([]byte, 16<<10))), limits, 0, 1,
			tlsprobe.Facts{Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, UnknownVersions: unknown, CipherSuitesUnknown: true, Connections: 7},
		},
		"warnings without an end": {
			sendForever(nil, record(21, []byte{1, 90})), limits, 0, 7,
			tlsprobe.Facts{Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, UnknownVersions: unknown, CipherSuitesUnknown: true, Connections: 7},
		},
		"internal errors": {
			sendForever(nil, record(21, []byte{2, 80})), limits, 0, 7,
			tlsprobe.Facts{Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, UnknownVersions: unknown, CipherSuitesUnknown: true, Connections: 7},
		},
		"refuses all": {
			sendForever(nil, record(21, []byte{2, 40})), limits, 0, 7,
			tlsprobe.Facts{Outcome: tlsprobe.Open, Plaintext: tlsprobe.PlaintextNotAnswered, UnknownVersions: unknown, CipherSuitesUnknown: true, Connections: 5},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewWithT(t)
				counts := &counter{dial: pipeTo(test.handle)}
				started := time.Now()
				facts := (&tlsprobe.Prober{Dial: counts.Dial, Limits: test.limits}).Probe(t.Context(), pipeTarget)
				g.Expect(time.Since(started)).To(Equal(test.takes))
				g.Expect(counts.bytesRead()).To(HaveEach(BeNumerically("<=", test.limits.Bytes)))
				g.Expect(counts.bytesRead()).To(ContainElement(BeNumerically(">=", test.atLeast)))
				t.Log(facts.Problem)
				if test.want.Problem == "" && test.want.Outcome == tlsprobe.Open {
					g.Expect(facts.Problem).NotTo(BeEmpty())
					facts.Problem = ""
				}
				requireFacts(t, facts, test.want)
			})
		})
	}
}

// endOf returns a channel that is closed when the other side of a pipe is closed.
func endOf(conn net.Conn) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := conn.Write(nil); err != nil { // a pipe passes even empty writes on
				return
			}
		}
	}()
	return ended
}

// The data of a TLS server that sends without an end after the handshake is
// read up to the limit, and its demands on clients are unknown.
func TestDataWithoutEndAfterTheHandshake(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		config := &tls.Config{MinVersion: v13, ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{certificate}}
		counts := &counter{dial: pipeTo(func(conn net.Conn) {
			server := tls.Server(conn, config)
			if server.Handshake() != nil {
				return
			}
			go readForever(conn)
			for block := make([]byte, 16<<10); ; {
				if _, err := server.Write(block); err != nil {
					return
				}
			}
		})}
		limits := tlsprobe.Limits{Bytes: 64 << 10}
		facts := (&tlsprobe.Prober{Dial: counts.Dial, Limits: limits}).Probe(t.Context(), pipeTarget)
		g.Expect(counts.bytesRead()).To(HaveEach(BeNumerically("<=", 64<<10)))
		g.Expect(counts.bytesRead()).To(ContainElement(BeNumerically("==", 64<<10)))
		g.Expect(facts.LowestVersion).To(BeEquivalentTo(v13))
		g.Expect(facts.ClientCertificate).To(Equal(tlsprobe.ClientCertificateUnknown))
	})
}

// A server of TLS 1.3 that closes silently after the handshake, or keeps the
// connection, does not show whether it wants a certificate. TLS 1.2 shows that.
func TestSilenceAfterTheHandshake(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	tests := map[string]struct {
		lowest uint16
		after  func(net.Conn)
		want   tlsprobe.ClientCertificate
	}{
		"closes":                  {v13, func(net.Conn) {}, tlsprobe.ClientCertificateUnknown},
		"waits":                   {v13, readForever, tlsprobe.ClientCertificateUnknown},
		"closes, and has TLS 1.2": {v12, func(net.Conn) {}, tlsprobe.ClientCertificateRequested},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := &tls.Config{MinVersion: test.lowest, ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{certificate}}
				dial := pipeTo(func(conn net.Conn) {
					if tls.Server(conn, config).Handshake() == nil {
						test.after(conn)
					}
				})
				facts := (&tlsprobe.Prober{Dial: dial}).Probe(t.Context(), pipeTarget)
				NewWithT(t).Expect(facts.LowestVersion).To(Equal(test.lowest))
				NewWithT(t).Expect(facts.HighestVersion).To(BeEquivalentTo(v13))
				NewWithT(t).Expect(facts.ClientCertificate).To(Equal(test.want))
				NewWithT(t).Expect(facts.Handshake).To(BeZero(), "waiting for a verdict is no part of the handshake")
			})
		})
	}
}

// A server of TLS 1.2 that ends the handshake without an alert, after the
// client sent no certificate, does not show the reason.
func TestEndWithoutAlert(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		config := &tls.Config{MaxVersion: v12, ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{certificate}}
		dial := pipeTo(func(conn net.Conn) { _ = tls.Server(withoutAlerts{conn}, config).Handshake() })
		facts := (&tlsprobe.Prober{Dial: dial, Roots: authority.RootPool()}).Probe(t.Context(), pipeTarget)
		g.Expect(facts.HighestVersion).To(BeEquivalentTo(v12))
		g.Expect(facts.ClientCertificate).To(Equal(tlsprobe.ClientCertificateUnknown))
		g.Expect(facts.Trust).To(Equal(tlsprobe.Trusted), "the server has proven its key before")
	})
}

// withoutAlerts is a connection that loses the alerts.
type withoutAlerts struct{ net.Conn }

func (w withoutAlerts) Write(p []byte) (int, error) {
	if p[0] == 21 {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// A TLS server that starts an answer to a plain request, and then stops, has not shown the kind of the answer.
func TestSlowAnswerToThePlainRequest(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	for _, begun := range []string{"", "HTTP/1", "HTTP/1.1 400 Bad Request\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			g := NewWithT(t)
			started := time.Now()
			plain := func(conn net.Conn) {
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					readForever(conn)
				}()
				_, _ = io.WriteString(conn, begun)
				<-ended
			}
			config := &tls.Config{Certificates: []tls.Certificate{certificate}}
			facts := (&tlsprobe.Prober{Dial: pipeTo(func(conn net.Conn) {
				reader := bufio.NewReader(conn)
				if first, err := reader.Peek(1); err != nil || first[0] != 22 {
					plain(&peeked{Conn: conn, reader: reader})
					return
				}
				_ = tls.Server(&peeked{Conn: conn, reader: reader}, config).Handshake()
			})}).Probe(t.Context(), pipeTarget)
			g.Expect(facts.Outcome).To(Equal(tlsprobe.Open))
			g.Expect(facts.Plaintext).To(Equal(tlsprobe.PlaintextUnknown))
			g.Expect(facts.Problem).To(Equal("a request without TLS: no answer in time"))
			g.Expect(time.Since(started)).To(Equal(tlsprobe.DefaultLimits().Connection))
		})
	}
}

// A server that stays silent on some connections leaves only the facts of these connections unknown.
func TestUnclearAnswersStayUnknown(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	tests := map[string]struct {
		hide func(*tls.ClientHelloInfo) bool
		want tlsprobe.Facts
	}{
		"old versions": {
			func(hello *tls.ClientHelloInfo) bool { return hello.SupportedVersions[0] < v12 },
			tlsprobe.Facts{LowestVersion: v12, HighestVersion: v13, UnknownVersions: []uint16{v10, v11}, Connections: 7},
		},
		"TLS 1.2": {
			func(hello *tls.ClientHelloInfo) bool { return hello.SupportedVersions[0] == v12 },
			tlsprobe.Facts{LowestVersion: v13, HighestVersion: v13, UnknownVersions: []uint16{v12}, CipherSuitesUnknown: true, Connections: 4},
		},
		"weak suites": {
			func(hello *tls.ClientHelloInfo) bool {
				return len(hello.CipherSuites) < 14 && hello.SupportedVersions[0] == v12
			},
			tlsprobe.Facts{LowestVersion: v12, HighestVersion: v13, CipherSuitesUnknown: true, Connections: 5},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := &tls.Config{Certificates: []tls.Certificate{certificate}, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					if test.hide(hello) {
						_, _ = io.Copy(io.Discard, hello.Conn)
					}
					return nil, nil
				}}
				dial := pipeTo(func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() })
				facts := (&tlsprobe.Prober{Dial: dial}).Probe(t.Context(), pipeTarget)
				NewWithT(t).Expect(facts.Problem).To(ContainSubstring("no answer in time"))
				facts.Problem = ""
				test.want.Outcome, test.want.Plaintext = tlsprobe.Open, tlsprobe.PlaintextNotAnswered
				test.want.ClientCertificate = tlsprobe.ClientCertificateNotRequested
				requireFacts(t, facts, test.want)
			})
		})
	}
}

// A server that answers one connection and stalls all others occupies the
// prober until the target's time is over. The facts found by then are reported.
func TestTimeOfTheTargetEnds(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		config := &tls.Config{Certificates: []tls.Certificate{certificate}}
		dialled := 0
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled++
			if dialled == 1 {
				return pipeTo(func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() })(ctx, network, address)
			}
			return pipeTo(readForever)(ctx, network, address)
		}
		started := time.Now()
		prober := &tlsprobe.Prober{Dial: dial, Roots: authority.RootPool(), Limits: tlsprobe.Limits{Connection: 3 * time.Second, Target: 5 * time.Second}}
		facts := prober.Probe(t.Context(), pipeTarget)
		g.Expect(time.Since(started)).To(Equal(5 * time.Second))
		g.Expect(facts.Certificates).To(HaveLen(1))
		g.Expect(facts.Problem).To(ContainSubstring("the time for this target ended"))
		facts.Problem = ""
		requireFacts(t, facts, tlsprobe.Facts{
			Outcome: tlsprobe.Open, LowestVersion: v13, HighestVersion: v13, UnknownVersions: []uint16{v10, v11, v12}, CipherSuitesUnknown: true,
			ClientCertificate: tlsprobe.ClientCertificateNotRequested, Trust: tlsprobe.Trusted, Connections: 3,
		})
	})
}

// closing is a connection that reports its end.
type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestStalledTargetsDelayNoOther probes good ports while all places but one are occupied by ports that never answer.
func TestStalledTargetsDelayNoOther(t *testing.T) {
	authority := newAuthority(t)
	certificate := issue(t, authority, tlsservers.Request{})
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		config := &tls.Config{Certificates: []tls.Certificate{certificate}}
		const stalled, parallel = 3, 4
		var lastGood atomic.Value
		var open, most atomic.Int32
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			handle := readForever
			if address != "192.0.2.1:1" {
				handle = func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() }
			}
			conn, err := pipeTo(handle)(ctx, network, address)
			if now := open.Add(1); now > most.Load() {
				most.Store(now)
			}
			return &closing{Conn: conn, closed: func() {
				open.Add(-1)
				if address != "192.0.2.1:1" {
					lastGood.Store(time.Now())
				}
			}}, err
		}
		var targets []tlsprobe.Target
		for i := range 20 {
			target := pipeTarget
			target.Port = uint16(2 + i)
			if i < stalled {
				target.Port = 1
			}
			targets = append(targets, target)
		}
		started := time.Now()
		all := (&tlsprobe.Prober{Dial: dial, Limits: tlsprobe.Limits{Parallel: parallel}}).ProbeAll(t.Context(), targets)
		g.Expect(lastGood.Load()).To(Equal(started), "good ports do not wait for stalled ones")
		g.Expect(time.Since(started)).To(Equal(6*time.Second), "stalled ports are probed side by side")
		g.Expect(most.Load()).To(BeEquivalentTo(parallel))
		for i, facts := range all {
			if i < stalled {
				g.Expect(facts.Outcome).To(Equal(tlsprobe.Silent))
			} else {
				g.Expect(facts.Outcome).To(Equal(tlsprobe.Open))
			}
		}
	})
	NewWithT(t).Expect((&tlsprobe.Prober{}).ProbeAll(t.Context(), nil)).To(BeEmpty())
}
