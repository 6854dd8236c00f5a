// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// loadCredentials returns the TLS configuration of the client.
func loadCredentials(o *Options) (*tls.Config, error) {
	text, err := readInput("cacert", o.CACert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM: set --cacert to the CA of etcd's server certificate", o.CACert)
	}
	cert, err := readInput("cert", o.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readInput("key", o.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are not a certificate and its key in PEM: %w: set --cert and --key", o.Cert, o.Key, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// readInput reads a file that a flag names.
func readInput(flag, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: set --%s", path, flag)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read by user %d: run as the owner of the file, or set --%s", path, os.Geteuid(), flag)
	case err != nil:
		return nil, fmt.Errorf("reading --%s: %w", flag, err)
	}
	return text, nil
}
