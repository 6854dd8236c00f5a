// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"context"
	"errors"
	"syscall"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// maxProblem is the maximum length of Facts.Problem in bytes.
const maxProblem = 256

// look is one look at a target: a sequence of connections, and their results.
type look struct {
	prober      *Prober
	limits      Limits
	target      Target
	connections int
	problems    []string
}

// findFacts opens the connections in order. The first handshake offers all versions, and
// shows most facts. A port without TLS gets one more connection, with a plain request.
func (l *look) findFacts(ctx context.Context) Facts {
	first := l.tryHandshake(ctx, offerAll())
	facts := Facts{Connect: first.connect, Handshake: first.handshakeTime()}
	if !first.connected {
		facts.Outcome = l.dialOutcome(ctx, first.err)
		return l.finishFacts(facts)
	}
	plain, err := l.askPlaintext(ctx)
	spokeTLS := first.spokeTLS() || plain == replyTLS
	facts.Plaintext = plain.plaintextFact(spokeTLS)
	if !spokeTLS {
		facts.Outcome = l.outcomeWithoutTLS(ctx, first, plain)
		return l.finishFacts(facts)
	}
	facts.Outcome = Open
	if facts.Plaintext == PlaintextUnknown && ctx.Err() == nil {
		l.addProblem("a request without TLS: " + describeReply(plain, err))
	}
	found := l.findVersions(ctx, first)
	found.describeVersions(&facts)
	l.findWeakSuites(ctx, found, &facts)
	l.describeCertificates(found.best, &facts)
	if ctx.Err() != nil {
		l.addProblem("the time for this target ended before all was tried")
	}
	return l.finishFacts(facts)
}

func (l *look) addProblem(problem string) { l.problems = wording.AppendUnique(l.problems, problem) }

func (l *look) finishFacts(facts Facts) Facts {
	facts.Problem = wording.OneLine(wording.ListPoints(l.problems), maxProblem)
	facts.Connections = l.connections
	return facts
}

// dialOutcome returns the outcome of a port to which no connection could be opened.
func (l *look) dialOutcome(ctx context.Context, err error) Outcome {
	switch {
	case ctx.Err() != nil:
		return NotFinished
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case isTimeout(err):
		return Dropped
	}
	l.addProblem("no connection: " + describeError(err))
	if isReset(err) { // at once after the connection was made
		return Silent
	}
	return Unreachable
}

// outcomeWithoutTLS returns the outcome of a port that took connections, and spoke no TLS.
func (l *look) outcomeWithoutTLS(ctx context.Context, first attempt, plain reply) Outcome {
	if plain == replyHTTP {
		return PlaintextOnly
	}
	if ctx.Err() != nil {
		return NotFinished
	}
	l.addProblem("no TLS: " + describeError(first.err))
	if plain == replyWantsTLS {
		l.addProblem("a request without TLS is answered by a demand for TLS")
	}
	if first.received > 0 || plain == replyOther {
		return Garbage
	}
	return Silent
}
