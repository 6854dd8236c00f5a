// SPDX-License-Identifier: Apache-2.0

package tlsservers

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
)

// WriteFiles writes a certificate with its chain to <name>.crt, and the key to <name>.key,
// as the flags of Kubernetes and etcd want both, and returns the paths.
func WriteFiles(dir, name string, certificate tls.Certificate) (certFile, keyFile string, err error) {
	var chain bytes.Buffer
	for _, encoded := range certificate.Certificate {
		chain.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encoded}))
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if err := os.WriteFile(certFile, chain.Bytes(), 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)
}
