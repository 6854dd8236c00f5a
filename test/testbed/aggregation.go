// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// frontProxy is the API server's user towards the servers of APIServices.
const frontProxy = "front-proxy-client"

// aggregationArgs makes the API server name the original user in requests to aggregated
// servers, verifiably for aggregated servers. Without aggregationArgs, no aggregated server
// authenticates any user. The certificate is a self-signed authority, because no other
// certificate needs the authority.
func aggregationArgs(dir string) (map[string][]string, error) {
	certificate, key, err := frontProxyFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", frontProxy, err)
	}
	return map[string][]string{
		"requestheader-client-ca-file":       {certificate},
		"requestheader-allowed-names":        {frontProxy},
		"requestheader-username-headers":     {"X-Remote-User"},
		"requestheader-group-headers":        {"X-Remote-Group"},
		"requestheader-extra-headers-prefix": {"X-Remote-Extra-"},
		"proxy-client-cert-file":             {certificate},
		"proxy-client-key-file":              {key},
	}, nil
}

func frontProxyFiles(dir string) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	authority, err := cert.NewSelfSignedCACert(cert.Config{CommonName: frontProxy}, private)
	if err != nil {
		return "", "", err
	}
	certPEM, err := cert.EncodeCertificates(authority)
	if err != nil {
		return "", "", err
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(private)
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(dir, "front-proxy.crt"), filepath.Join(dir, "front-proxy.key")
	return certificate, key, errors.Join(os.WriteFile(certificate, certPEM, 0o600), os.WriteFile(key, keyPEM, 0o600))
}
