// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
)

// Target is a port to look at.
type Target struct {
	Address netip.Addr
	Port    uint16
	// Names are names and addresses that the certificate must cover. Only the first
	// Limits.Names count.
	Names []string
	// ServerName is sent to the server (SNI). Empty sends none: the server then presents
	// its default certificate.
	ServerName string
}

// Dial opens a connection, as the method DialContext of a net.Dialer does, and returns
// when ctx ends.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Prober opens connections within limits. Several goroutines may use a prober, as long as
// the fields do not change.
type Prober struct {
	// Dial opens connections; nil stands for the network of this process.
	Dial Dial
	// Roots are the certificate authorities that the cluster publishes; nil if unknown.
	Roots *x509.CertPool
	// WeakCipherSuites to try; nil stands for tls.InsecureCipherSuites. Only suites of
	// crypto/tls up to TLS 1.2 can be tried.
	WeakCipherSuites []uint16
	// Limits of time and memory; zero fields stand for DefaultLimits.
	Limits Limits
}

// Probe finds facts about one target. Probe returns when all facts are known, or
// Limits.Target has passed, or ctx has ended. Facts not found by then are unknown.
func (p *Prober) Probe(ctx context.Context, target Target) (facts Facts) {
	limits := p.Limits.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, limits.Target)
	defer cancel()
	l := &look{prober: p, limits: limits, target: target}
	// Parsers of TLS and of certificates have had faults that a server could use. Such a
	// fault must not end the process of the observer.
	defer func() {
		if fault := recover(); fault != nil {
			facts = Facts{Outcome: NotFinished, Problem: panicProblem, Connections: l.connections}
		}
	}()
	return l.findFacts(ctx)
}

// panicProblem is the problem of a probe in which this program panicked.
const panicProblem = "the answer of the server met a fault in this program; report this as a bug, with the version of the program"

// ProbeAll probes the targets, Limits.Parallel at a time, and returns the facts in the
// order of the targets. A slow target takes only one of the parallel places.
func (p *Prober) ProbeAll(ctx context.Context, targets []Target) []Facts {
	facts := make([]Facts, len(targets))
	next := make(chan int)
	var running sync.WaitGroup
	for range min(p.Limits.withDefaults().Parallel, len(targets)) {
		running.Go(func() {
			for i := range next {
				facts[i] = p.Probe(ctx, targets[i])
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	running.Wait()
	return facts
}
