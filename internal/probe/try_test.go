// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
)

// direct dials from this process's network.
var direct probe.Dial = new(net.Dialer).DialContext

// listen returns the address of a listener that serves every connection.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				serve(connection)
			}()
		}
	}()
	return listener.Addr().String()
}

// mute reads, and never answers.
func mute(connection net.Conn) { _, _ = io.Copy(io.Discard, connection) }

// says gives the same answer to every connection.
func says(words string) func(net.Conn) {
	return func(connection net.Conn) {
		_, _ = connection.Read(make([]byte, 1024))
		_, _ = io.WriteString(connection, words)
	}
}

// speaks answers with TLS.
func speaks(config *tls.Config) func(net.Conn) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	config.Certificates = server.TLS.Certificates
	server.Close()
	return func(connection net.Conn) { _ = tls.Server(connection, config).Handshake() }
}

// closed returns an address without a listener.
func closed(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func target(address string, protocol v1alpha1.ProbeProtocol) v1alpha1.ProbeTarget {
	to := netip.MustParseAddrPort(address)
	return v1alpha1.ProbeTarget{Address: to.Addr().String(), Port: v1alpha1.PortNumber(to.Port()), Protocol: protocol}
}

func TestOutcomesOfAProbe(t *testing.T) {
	wantsCertificate := tls.Config{ClientAuth: tls.RequireAnyClientCert}
	wantsCertificateAtOnce := tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	tests := map[string]struct {
		address  string
		protocol v1alpha1.ProbeProtocol
		want     v1alpha1.ProbeOutcome
	}{
		"a port that accepts":                              {listen(t, mute), v1alpha1.ProbeTCP, v1alpha1.ProbeOpen},
		"a port without a listener":                        {closed(t), v1alpha1.ProbeTCP, v1alpha1.ProbeRefused},
		"a port without a listener, with TLS":              {closed(t), v1alpha1.ProbeTLS, v1alpha1.ProbeRefused},
		"TLS":                                              {listen(t, speaks(&tls.Config{})), v1alpha1.ProbeTLS, v1alpha1.ProbeOpen},
		"TLS that requires a certificate":                  {listen(t, speaks(&wantsCertificate)), v1alpha1.ProbeTLS, v1alpha1.ProbeOpen},
		"TLS that refuses the client with an alert":        {listen(t, speaks(&wantsCertificateAtOnce)), v1alpha1.ProbeTLS, v1alpha1.ProbeOpen},
		"TLS of a version that the probe does not support": {listen(t, speaks(&tls.Config{MaxVersion: tls.VersionTLS11})), v1alpha1.ProbeTLS, v1alpha1.ProbeOpen},
		"no answer to the handshake":                       {listen(t, mute), v1alpha1.ProbeTLS, v1alpha1.ProbeSilent},
		"the server hangs up in the handshake":             {listen(t, says("")), v1alpha1.ProbeTLS, v1alpha1.ProbeSilent},
		"another protocol than TLS":                        {listen(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")), v1alpha1.ProbeTLS, v1alpha1.ProbeSilent},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			NewWithT(t).Expect(probe.TryTarget(t.Context(), direct, target(test.address, test.protocol))).To(Equal(test.want))
		})
	}
}

// failure is the system's error for a connection that failed.
func failure(err error) error {
	return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
}

func TestOutcomeOfAFailureToConnect(t *testing.T) {
	tests := map[v1alpha1.ProbeOutcome][]error{
		v1alpha1.ProbeRefused:     {failure(syscall.ECONNREFUSED)},
		v1alpha1.ProbeDropped:     {failure(syscall.ETIMEDOUT), failure(os.ErrDeadlineExceeded), context.DeadlineExceeded},
		v1alpha1.ProbeUnreachable: {failure(syscall.EHOSTUNREACH), failure(syscall.ENETUNREACH), failure(syscall.EADDRNOTAVAIL), errors.New("no idea")},
	}
	for want, causes := range tests {
		for _, cause := range causes {
			t.Run(fmt.Sprint(want, " ", cause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fails := func(context.Context, string, string) (net.Conn, error) { return nil, cause }
					NewWithT(t).Expect(probe.TryTarget(t.Context(), fails, target("192.0.2.1:6443", v1alpha1.ProbeTLS))).To(Equal(want))
				})
			})
		}
	}
}

// drop is a dialer whose first packets are lost.
func drop(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, failure(ctx.Err())
}

func TestOneLostPacketDoesNotChangeTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		for lost, want := range []v1alpha1.ProbeOutcome{v1alpha1.ProbeOpen, v1alpha1.ProbeOpen, v1alpha1.ProbeOpen, v1alpha1.ProbeDropped} {
			dials := 0
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				g.Expect(network + " " + address).To(Equal("tcp [2001:db8::1]:6443"))
				if dials++; dials <= lost {
					return drop(ctx, network, address)
				}
				here, _ := net.Pipe()
				return here, nil
			}
			began := time.Now()
			g.Expect(probe.TryTarget(t.Context(), dial, target("[2001:db8::1]:6443", v1alpha1.ProbeTCP))).To(Equal(want), "%d packets are lost", lost)
			g.Expect(dials).To(Equal(min(lost+1, 3)))
			g.Expect(time.Since(began)).To(BeNumerically("<", 4*time.Second))
		}
	})
}

func TestAProbeRoundTriesSixteenTargetsAtATimeAndEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		var now, most atomic.Int64
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if running := now.Add(1); running > most.Load() {
				most.Store(running)
			}
			defer now.Add(-1)
			return drop(ctx, network, address)
		}
		var targets []v1alpha1.ProbeTarget
		var want []v1alpha1.ProbeResult
		for port := range v1alpha1.PortNumber(64) {
			targets = append(targets, v1alpha1.ProbeTarget{Address: "192.0.2.1", Port: port + 1, Protocol: v1alpha1.ProbeTLS})
			want = append(want, v1alpha1.ProbeResult{Address: "192.0.2.1", Port: port + 1, Outcome: v1alpha1.ProbeDropped})
		}
		began := time.Now()
		g.Expect(probe.TryTargets(t.Context(), dial, targets, probe.IsRefused)).To(Equal(want))
		g.Expect(time.Since(began)).To(BeNumerically("<", 18*time.Second))
		g.Expect(most.Load()).To(BeEquivalentTo(16))
	})
}

func TestAProbeRoundEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		probe.TryTargets(ctx, drop, make([]v1alpha1.ProbeTarget, 64), func(v1alpha1.ProbeTarget) bool { return false })
		NewWithT(t).Expect(time.Since(began)).To(Equal(100 * time.Millisecond))
	})
}
