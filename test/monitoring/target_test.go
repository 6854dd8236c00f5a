// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cpnp-dev/cpnp-operator/test/monitoring/scrape"
)

const (
	serverName = "cpnp-operator-metrics.cpnp-system.svc"
	token      = "let-me-in"
)

// serveMetrics serves metrics as the operator does: over TLS, with a certificate that
// can be verified, to clients with the token. stop ends the server before the test does.
func serveMetrics(t *testing.T, from client.Gatherer) (_ scrape.Endpoint, stop func()) {
	t.Helper()
	g, dir := NewWithT(t), t.TempDir()
	certificate := newCertificate(t)
	handler := promhttp.HandlerFor(from, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	s.StartTLS()
	t.Cleanup(s.Close)
	e := scrape.Endpoint{
		Address: s.Listener.Addr().String(), ServerName: serverName,
		CAFile: filepath.Join(dir, "ca.crt"), TokenFile: filepath.Join(dir, "token"),
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	g.Expect(os.WriteFile(e.CAFile, authority, 0o600)).To(Succeed())
	g.Expect(os.WriteFile(e.TokenFile, []byte(token), 0o600)).To(Succeed())
	return e, func() { s.CloseClientConnections(); s.Close() }
}

// newCertificate returns a certificate that signs itself.
func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	g.Expect(err).NotTo(HaveOccurred())
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}
