// SPDX-License-Identifier: Apache-2.0

package tlsprobe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
)

// failWith returns a Dial that fails as the one of the network does.
func failWith(err error) tlsprobe.Dial {
	return func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: 41234}, Err: os.NewSyscallError("connect", err)}
	}
}

// TestOutcomesWithoutConnection checks the reason why no connection was opened.
func TestOutcomesWithoutConnection(t *testing.T) {
	listener, err := net.Listen("tcp", loopback)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	free := listener.Addr().(*net.TCPAddr).AddrPort()
	NewWithT(t).Expect(listener.Close()).To(Succeed())
	never := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	tests := map[string]struct {
		dial tlsprobe.Dial
		want tlsprobe.Facts
	}{
		"no listener":      {nil, tlsprobe.Facts{Outcome: tlsprobe.Refused}},
		"refused":          {failWith(syscall.ECONNREFUSED), tlsprobe.Facts{Outcome: tlsprobe.Refused}},
		"no answer":        {never, tlsprobe.Facts{Outcome: tlsprobe.Dropped}},
		"the kernel ended": {failWith(syscall.ETIMEDOUT), tlsprobe.Facts{Outcome: tlsprobe.Dropped}},
		"no route":         {failWith(syscall.EHOSTUNREACH), tlsprobe.Facts{Outcome: tlsprobe.Unreachable, Problem: "no connection: no route to host"}},
		"no address here":  {failWith(syscall.EADDRNOTAVAIL), tlsprobe.Facts{Outcome: tlsprobe.Unreachable, Problem: "no connection: cannot assign requested address"}},
		"reset at once":    {failWith(syscall.ECONNRESET), tlsprobe.Facts{Outcome: tlsprobe.Silent, Problem: "no connection: the server reset the connection"}},
		"another error":    {failWith(errors.New("line\nbreak" + strings.Repeat("x", 9999))), tlsprobe.Facts{Outcome: tlsprobe.Unreachable}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			limits := tlsprobe.Limits{}
			if test.want.Outcome != tlsprobe.Dropped {
				limits = patient
			}
			probe := func(t *testing.T) {
				facts := (&tlsprobe.Prober{Dial: test.dial, Limits: limits}).Probe(t.Context(), targetOf(free))
				if test.want.Outcome == tlsprobe.Unreachable && test.want.Problem == "" {
					NewWithT(t).Expect(len(facts.Problem)).To(BeNumerically("<=", 256))
					NewWithT(t).Expect(facts.Problem).To(HavePrefix(`no connection: connect: line\nbreakxxx`))
					test.want.Problem = facts.Problem
				}
				requireFacts(t, facts, test.want)
			}
			if test.dial == nil {
				probe(t)
				return
			}
			synctest.Test(t, probe)
		})
	}
	facts := (&tlsprobe.Prober{Limits: patient}).Probe(t.Context(), tlsprobe.Target{})
	NewWithT(t).Expect(facts.Outcome).To(Equal(tlsprobe.Unreachable))
}

// The address is dialled unchanged, with its zone.
func TestAddressThatIsDialled(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:6443", "2001:db8::1": "[2001:db8::1]:6443", "::ffff:192.0.2.1": "192.0.2.1:6443", "fe80::1%eth0": "[fe80::1%eth0]:6443",
	} {
		var dialled []string
		prober := &tlsprobe.Prober{Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, network+" "+address)
			return nil, syscall.ECONNREFUSED
		}}
		facts := prober.Probe(t.Context(), tlsprobe.Target{Address: netip.MustParseAddr(address), Port: 6443})
		NewWithT(t).Expect(dialled).To(Equal([]string{"tcp " + want}))
		NewWithT(t).Expect(facts.Outcome).To(Equal(tlsprobe.Refused))
	}
}

// A probe ends at once when its caller's context ends, at whatever point, and reports no facts that were not seen.
func TestProbeEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		started := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		facts := (&tlsprobe.Prober{Dial: pipeTo(readForever)}).Probe(ctx, pipeTarget)
		g.Expect(time.Since(started)).To(Equal(time.Second))
		requireFacts(t, facts, tlsprobe.Facts{Outcome: tlsprobe.NotFinished, Connections: 1})

		facts = (&tlsprobe.Prober{Dial: pipeTo(readForever)}).Probe(ctx, pipeTarget)
		g.Expect(time.Since(started)).To(Equal(time.Second))
		requireFacts(t, facts, tlsprobe.Facts{Outcome: tlsprobe.NotFinished})
	})
}

// A panic in a parser ends the probe of one target, and not the process.
func TestFaultOfTheParserIsContained(t *testing.T) {
	prober := &tlsprobe.Prober{Dial: func(context.Context, string, string) (net.Conn, error) { return brokenConn{}, nil }}
	all := prober.ProbeAll(t.Context(), []tlsprobe.Target{pipeTarget, pipeTarget})
	for _, facts := range all {
		requireFacts(t, facts, tlsprobe.Facts{
			Outcome: tlsprobe.NotFinished, Connections: 1,
			Problem: "the answer of the server met a fault in this program; report this as a bug, with the version of the program",
		})
	}
	requireNoGoroutine(t)
}

type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error)    { panic("index out of range") }
func (brokenConn) Write(p []byte) (int, error) { return len(p), nil }
func (brokenConn) Close() error                { return nil }
func (brokenConn) SetDeadline(time.Time) error { return nil }
