// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"time"
)

// offer is what a ClientHello offers.
type offer struct {
	lowest, highest uint16   // versions
	suites          []uint16 // of TLS 1.2 and lower
}

// attempt is the result of one handshake.
type attempt struct {
	connected          bool // a connection was opened
	connect, handshake time.Duration
	received           int    // the number of bytes read
	head               []byte // the first bytes read
	err                error  // why the handshake did not complete

	// version and suite are the server's choices; 0 if the server made none.
	version, suite uint16
	certificates   []*x509.Certificate
	// proven tells that the server has shown to have the key of the first certificate.
	proven bool
	demand ClientCertificate
}

// tryHandshake opens a connection, and makes a handshake without a client certificate.
func (l *look) tryHandshake(ctx context.Context, offer offer) attempt {
	dialled := time.Now()
	connection, err := l.openConnection(ctx)
	if err != nil {
		return attempt{err: err}
	}
	defer func() { _ = connection.Close() }()
	connected := time.Now()

	requested := false
	client := tls.Client(connection, l.clientConfig(offer, &requested))
	err = client.Handshake() // the connection ends with ctx
	handshake := time.Since(connected)
	state := client.ConnectionState()
	return attempt{
		connected:    true,
		connect:      connected.Sub(dialled),
		handshake:    handshake,
		version:      state.Version,
		suite:        state.CipherSuite,
		certificates: state.PeerCertificates,
		// A client is asked for the certificate after the server has signed the key
		// exchange.
		proven:   state.HandshakeComplete || requested,
		demand:   findDemand(client, connection, requested, err),
		err:      err,
		received: connection.received,
		head:     connection.head,
	}
}

// clientConfig returns the configuration of a handshake, which sets *requested when the
// server asks for a client certificate.
func (l *look) clientConfig(offer offer, requested *bool) *tls.Config {
	return &tls.Config{
		// Facts are collected about an untrusted server too: describeCertificates verifies
		// chain, time and names one by one. No data follow the handshake.
		InsecureSkipVerify:     true,
		ServerName:             l.target.ServerName,
		MinVersion:             offer.lowest,
		MaxVersion:             offer.highest,
		CipherSuites:           offer.suites,
		SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			*requested = true
			return &tls.Certificate{}, nil // no certificate
		},
	}
}

// findDemand returns the server's demand for a client certificate, after a handshake that
// ended with err.
func findDemand(client *tls.Conn, connection *connection, requested bool, err error) ClientCertificate {
	switch {
	case err == nil && !requested:
		return ClientCertificateNotRequested
	case err == nil && client.ConnectionState().Version >= tls.VersionTLS13:
		return readVerdict(client, connection)
	case err == nil:
		return ClientCertificateRequested
	case requested && isAlert(err):
		return ClientCertificateRequired
	default:
		return ClientCertificateUnknown
	}
}

// readVerdict reads the answer of a TLS 1.3 server to a client without a certificate. The
// handshake of the client is complete before the server has read the client's part. The
// probe announces the end of its data. A content server then ends the connection in order
// (close_notify); any other server sends an alert.
func readVerdict(client *tls.Conn, connection *connection) ClientCertificate {
	_ = client.CloseWrite() // after a failure, the alert may still be there to read
	before := connection.received
	buffer := make([]byte, 512)
	for {
		_, err := client.Read(buffer)
		switch {
		case err == nil:
			continue // data without interest, of bounded size
		case isAlert(err):
			return ClientCertificateRequired
		case errors.Is(err, io.EOF) && connection.received > before:
			return ClientCertificateRequested
		default:
			return ClientCertificateUnknown
		}
	}
}

// spokeTLS tells whether the server answered with TLS, whatever the content.
func (a attempt) spokeTLS() bool { return isRecord(a.head) }

// isRefused tells whether the server clearly refused the offer. An internal error of the
// server is no clear answer.
func (a attempt) isRefused() bool {
	const internalError = tls.AlertError(80)
	return a.version == 0 && isAlert(a.err) && alertOf(a.err).Error() != internalError.Error()
}

// handshakeTime returns the duration of a handshake that the server took part in.
func (a attempt) handshakeTime() time.Duration {
	if !a.proven {
		return 0
	}
	return a.handshake
}

// isRecord tells whether bytes begin as the first TLS record of a server does: an alert or
// a handshake, of SSL 3 to TLS 1.3.
func isRecord(head []byte) bool {
	const alert, handshake, major, highestMinor = 21, 22, 3, 4
	return len(head) >= 3 && (head[0] == alert || head[0] == handshake) && head[1] == major && head[2] <= highestMinor
}
