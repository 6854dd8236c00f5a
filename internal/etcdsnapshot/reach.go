// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// answerTimeout limits the wait for the answer to a small request.
const answerTimeout = 10 * time.Second

// refusalTimeout limits the wait for a reason.
const refusalTimeout = 2 * time.Second

// reach makes one request by plain HTTP. The client of etcd tries again and again until a
// timeout, and does not show the cause; a plain request does.
func reach(ctx context.Context, address string, credentials *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: credentials.Clone(), ForceAttemptHTTP2: true, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/version", http.NoBody)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err == nil {
		return response.Body.Close()
	}
	advice := adviseUnreachable(err)
	if advice == "" {
		if refusal := readRefusal(ctx, address, credentials); refusal != nil {
			err, advice = refusal, adviseUnreachable(refusal)
		}
	}
	return fmt.Errorf("etcd at %s: %s: %w", address, cmp.Or(advice, "set --endpoints to the client address of etcd"), err)
}

// readRefusal returns the reason why a server closes a connection after the handshake. A
// server that refuses a client certificate sends the reason and closes the connection. A
// writing client may see only the broken connection; a reading client sees the reason.
func readRefusal(ctx context.Context, address string, credentials *tls.Config) error {
	connection, err := (&tls.Dialer{Config: credentials.Clone()}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	if err := connection.SetReadDeadline(time.Now().Add(refusalTimeout)); err != nil {
		return nil
	}
	_, err = connection.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return nil // no reason
	}
	return err
}

// adviseUnreachable returns why a member was not reached, and what to do; empty if the
// error does not show the cause.
func adviseUnreachable(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		header    tls.RecordHeaderError
		operation *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "the server certificate is not of the CA in --cacert: set --cacert to the CA of etcd"
	case errors.As(err, &name):
		return "the server certificate is for other addresses: set --endpoints to an address in the certificate"
	case errors.As(err, &invalid):
		return "the server certificate is not valid: renew the server certificate of etcd, and check the clock"
	case errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &header):
		return "the server does not answer with TLS: set --endpoints to the client address of etcd, and serve that with TLS"
	case errors.As(err, &operation) && operation.Op == "remote error":
		return "etcd refuses the client certificate: set --cert and --key to a valid certificate of etcd's client CA (--trusted-ca-file)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: run on a control-plane node in the network of the host, or set --endpoints"
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return "there was no answer: check that etcd runs and that no firewall is between, or set --endpoints"
	default:
		return ""
	}
}
