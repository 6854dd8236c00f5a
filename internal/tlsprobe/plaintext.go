// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
)

// reply is what a port said to a request without TLS.
type reply int

const (
	replyUnclear  reply = iota // no answer in time, or not enough of an answer
	replyClosed                // the connection was closed or reset without an answer
	replyTLS                   // a TLS record, as a rule an alert
	replyWantsTLS              // an HTTP answer that the port wants TLS
	replyHTTP                  // any other HTTP
	replyOther                 // other bytes
)

// maxReply is the number of bytes of a reply that are looked at.
const maxReply = 4 << 10

// askPlaintext sends a request without TLS. The error is how the connection ended, if the
// connection ended before the reply was clear.
func (l *look) askPlaintext(ctx context.Context) (reply, error) {
	connection, err := l.openConnection(ctx)
	if err != nil {
		return replyUnclear, err
	}
	defer func() { _ = connection.Close() }()
	// A failure to write may be an answer to read: the server may have closed after a reply.
	_, _ = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: "+l.target.Address.Unmap().WithZone("").String()+
		"\r\nUser-Agent: cpnp-operator\r\nConnection: close\r\n\r\n")
	var received []byte
	buffer := make([]byte, 512)
	for {
		n, err := connection.Read(buffer)
		received = append(received, buffer[:n]...)
		answer, decided := readReply(received)
		switch {
		case decided:
			return answer, nil
		case err != nil:
			return endReply(answer, received, err), err
		case len(received) >= maxReply:
			return answer, nil
		}
	}
}

// readReply returns the kind of a reply by the first bytes, and whether further bytes could
// not change the kind.
func readReply(received []byte) (answer reply, decided bool) {
	switch {
	case isRecord(received):
		return replyTLS, true
	case isSettings(received):
		return replyHTTP, true
	case len(received) >= len(statusLine):
		return readStatus(received)
	case mayBecomeReply(received):
		return replyUnclear, false
	default:
		return replyOther, true
	}
}

// statusLine has the length of the part of a status line that is looked at.
const statusLine = "HTTP/1.1 400"

// demandsTLS are the texts, in lower case, of servers that speak HTTP on a port of TLS
// only to say so: Go's net/http, nginx, and Apache.
var demandsTLS = [][]byte{
	[]byte("client sent an http request to an https server"),
	[]byte("the plain http request was sent to https port"),
	[]byte("speaking plain http to an ssl-enabled server port"),
}

func readStatus(received []byte) (answer reply, decided bool) {
	if !bytes.HasPrefix(received, []byte("HTTP/1.")) {
		return replyOther, true
	}
	if string(received[len(statusLine)-4:len(statusLine)]) != " 400" {
		return replyHTTP, true
	}
	text := bytes.ToLower(received)
	if slices.ContainsFunc(demandsTLS, func(demand []byte) bool { return bytes.Contains(text, demand) }) {
		return replyWantsTLS, true
	}
	return replyHTTP, false
}

// isSettings tells whether bytes begin with the frame that a server of HTTP/2 begins with:
// SETTINGS on stream 0, with parameters of six bytes.
func isSettings(received []byte) bool {
	const header, settings, parameter, most = 9, 4, 6, 64
	if len(received) < header || received[0] != 0 {
		return false
	}
	length := binary.BigEndian.Uint16(received[1:3])
	return received[3] == settings && received[4] == 0 && binary.BigEndian.Uint32(received[5:9]) == 0 &&
		length%parameter == 0 && length <= most*parameter
}

// mayBecomeReply tells whether more bytes could make these a TLS record or HTTP.
func mayBecomeReply(received []byte) bool {
	const alert, handshake = 21, 22
	const http = "HTTP/1."
	return len(received) == 0 || string(received[:min(len(received), len(http))]) == http[:min(len(received), len(http))] ||
		received[0] == 0 || len(received) < 3 && (received[0] == alert || received[0] == handshake)
}

// endReply returns the reply of a connection that ended with err, after unclear bytes.
func endReply(answer reply, received []byte, err error) reply {
	isEnded := isClosed(err) || isReset(err)
	switch {
	case answer == replyHTTP && (isEnded || bytes.Contains(received, []byte("\r\n\r\n"))):
		return replyHTTP
	case len(received) > 0 && isEnded:
		return replyOther
	case isEnded:
		return replyClosed
	default:
		return replyUnclear
	}
}

// plaintextFact returns the fact that follows from the reply of a port with or without TLS.
func (r reply) plaintextFact(spokeTLS bool) Plaintext {
	switch {
	case r == replyHTTP:
		return PlaintextAnswered
	case r == replyTLS, r == replyClosed, r == replyWantsTLS && spokeTLS:
		return PlaintextNotAnswered
	default:
		return PlaintextUnknown
	}
}

// describeReply says why a reply tells nothing.
func describeReply(answer reply, err error) string {
	if answer == replyOther {
		return "the answer is neither HTTP nor TLS"
	}
	return describeError(err)
}
