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
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Limits of the attempts on a target. A target without a connection takes 3.4 seconds, the
// slowest target with a connection 4.4 seconds. So a round of 64 targets takes less than 18
// seconds, well within the 30 seconds for a reconciliation.
const (
	maxAttempts = 3
)

// parallelTargets is the number of targets of a round that are tried at once.
const parallelTargets = 16

// Dial opens a connection, as the method DialContext of a net.Dialer does. A Dial
// function must return when ctx ends.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// TryTarget tries a target with new TCP connections. Established connections live on in
// conntrack, and would hide a denial of new connections. A target without a connection is
// tried three times in all, because a single lost packet must not roll back a node. When
// ctx ends first, the outcome has no meaning.
func TryTarget(ctx context.Context, dial Dial, target v1alpha1.ProbeTarget) v1alpha1.ProbeOutcome {
	outcome := tryOnce(ctx, dial, target)
	for range maxAttempts - 1 {
		if outcome.IsConnected() || !sleepContext(ctx, timing.ProbePause) {
			break
		}
		outcome = tryOnce(ctx, dial, target)
	}
	return outcome
}

// TryTargets tries all targets, 16 at a time, and returns the results in the order of the
// targets. A refused target is not tried and counts as unreachable. When ctx ends first,
// the results mean nothing.
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
	ctx, cancel := context.WithTimeout(ctx, timing.ProbeConnect)
	defer cancel()
	return dial(ctx, "tcp", address)
}

// outcomeOf returns the outcome of a failed connection. An error other than an answer or a
// missing answer is a fault of the observer, such as no local address of the address
// family: the target is unreachable from the observer.
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

// speaksTLS tells whether the other side speaks TLS. A server that refuses the handshake
// with an alert, for example because a client certificate is missing, speaks TLS.
func speaksTLS(ctx context.Context, connection net.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, timing.ProbeHandshake)
	defer cancel()
	// The probe is about packets and not about trust: only the handshake is sent, no
	// received data is trusted, and an observer could not know the certificate
	// authorities of every etcd and kubelet.
	config := &tls.Config{InsecureSkipVerify: true}
	return isTLSAnswer(tls.Client(connection, config).HandshakeContext(ctx))
}

// isTLSAnswer tells whether the error of a handshake shows that the other side answered
// with TLS. The other side did not if no data came, or data other than TLS; every other
// error is about the content of the handshake.
func isTLSAnswer(err error) bool {
	var network net.Error
	var gibberish tls.RecordHeaderError
	var system syscall.Errno
	silent := errors.As(err, &network) && network.Timeout() || errors.As(err, &gibberish) || errors.As(err, &system) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled)
	return !silent
}

// sleepContext waits for a duration, and tells whether the duration passed before ctx
// ended.
func sleepContext(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
