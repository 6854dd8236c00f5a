// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// How long a target is tried. One that never connects takes 3.4 seconds, the
// slowest that does 4.4, and so a round of 64 targets less than 18: well within
// the 30 seconds that a reconciliation may take.
const (
	connectTimeout   = time.Second
	handshakeTimeout = time.Second
	maxAttempts      = 3
	retryPause       = 200 * time.Millisecond
)

// together is how many targets of a round are tried at once.
const parallelTargets = 16

// Dial opens a connection, as the method DialContext of a net.Dialer does. It
// must end when ctx does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Try tries a target with new TCP connections: established ones live on in
// conntrack, and would hide that no new one is let in. A target that does not
// connect is tried three times in all, because one lost packet must not take a
// node back. When ctx ends first, the outcome means nothing.
func TryTarget(ctx context.Context, dial Dial, target v1alpha1.ProbeTarget) v1alpha1.ProbeOutcome {
	outcome := tryOnce(ctx, dial, target)
	for range maxAttempts - 1 {
		if outcome.Connects() || !sleepUntilDone(ctx, retryPause) {
			break
		}
		outcome = tryOnce(ctx, dial, target)
	}
	return outcome
}

// TryAll tries all targets that are not refused, 16 at a time, and returns their results
// in the order of the targets: what is refused is unreachable. When ctx ends first, they
// mean nothing.
func TryTargets(
	ctx context.Context, dial Dial, targets []v1alpha1.ProbeTarget, refused func(v1alpha1.ProbeTarget) bool,
) []v1alpha1.ProbeResult {
	results := make([]v1alpha1.ProbeResult, len(targets))
	slots := make(chan struct{}, parallelTargets)
	var running sync.WaitGroup
	for i, target := range targets {
		if refused(target) {
			results[i] = v1alpha1.ProbeResult{Address: target.Address, Port: target.Port, Outcome: v1alpha1.ProbeUnreachable}
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			results[i] = v1alpha1.ProbeResult{Address: target.Address, Port: target.Port, Outcome: TryTarget(ctx, dial, target)}
		})
	}
	running.Wait()
	return results
}

func tryOnce(ctx context.Context, dial Dial, target v1alpha1.ProbeTarget) v1alpha1.ProbeOutcome {
	connection, err := dialWithTimeout(ctx, dial, net.JoinHostPort(target.Address, strconv.Itoa(int(target.Port))))
	if err != nil {
		return outcomeOf(err)
	}
	defer func() { _ = connection.Close() }()
	if target.Protocol == v1alpha1.ProbeTLS && !speaksTLS(ctx, connection) {
		return v1alpha1.ProbeSilent
	}
	return v1alpha1.ProbeOpen
}

func dialWithTimeout(ctx context.Context, dial Dial, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return dial(ctx, "tcp", address)
}

// outcomeOf says why there is no connection. What is neither an answer nor the
// lack of one is a fault on this side, such as no address of the family that
// could be connected from: from here there is no way there.
func outcomeOf(err error) v1alpha1.ProbeOutcome {
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return v1alpha1.ProbeRefused
	case errors.As(err, &network) && network.Timeout():
		return v1alpha1.ProbeDropped
	default:
		return v1alpha1.ProbeUnreachable
	}
}

// speaksTLS says whether the other side speaks TLS. One that refuses the
// handshake with an alert, because it wants a certificate for example, does.
func speaksTLS(ctx context.Context, connection net.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	// It is about packets and not about trust: nothing is sent but the
	// handshake, nothing that comes is believed, and an observer could not know
	// the authorities of every etcd and kubelet.
	config := &tls.Config{InsecureSkipVerify: true}
	return isTLSAnswer(tls.Client(connection, config).HandshakeContext(ctx))
}

// spoken says whether a handshake that ended so was one at all. It was not if
// nothing came, or something that is no TLS; every other error is about what
// was said.
func isTLSAnswer(err error) bool {
	var network net.Error
	var gibberish tls.RecordHeaderError
	var system syscall.Errno
	silent := errors.As(err, &network) && network.Timeout() || errors.As(err, &gibberish) || errors.As(err, &system) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled)
	return !silent
}

// wait lets time pass, and says whether all of it did before ctx ended.
func sleepUntilDone(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
