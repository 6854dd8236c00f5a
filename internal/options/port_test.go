// SPDX-License-Identifier: Apache-2.0

package options

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// reviewer is an API server that knows one token, and counts the reviews.
func reviewer(t *testing.T) (*rest.Config, *atomic.Int64) {
	t.Helper()
	asked := &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		if filepath.Base(r.URL.Path) == "subjectaccessreviews" {
			review := authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}}
			review.APIVersion, review.Kind = "authorization.k8s.io/v1", "SubjectAccessReview"
			_ = json.NewEncoder(w).Encode(review)
			return
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		review := authenticationv1.TokenReview{}
		review.APIVersion, review.Kind = "authentication.k8s.io/v1", "TokenReview"
		if bytes.Contains(body.Bytes(), []byte("good")) {
			review.Status.Authenticated, review.Status.User.Username = true, "prometheus"
		}
		_ = json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1}
	config.ContentType = "application/json"
	return config, asked
}

func TestAFloodOfTokensReachesTheAPIServerAsATrickle(t *testing.T) {
	g := NewWithT(t)
	config, asked := reviewer(t)
	filter, err := filterMetrics(config, http.DefaultClient)
	g.Expect(err).NotTo(HaveOccurred())
	lines := 0
	log := funcr.New(func(string, string) { lines++ }, funcr.Options{Verbosity: 10})
	handler, err := filter(log, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	g.Expect(err).NotTo(HaveOccurred())
	get := func(from, token string) int {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.RemoteAddr = from + ":1234"
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		return answer.Code
	}
	g.Expect(get("192.0.2.9", "good")).To(Equal(http.StatusOK))
	g.Expect(get("192.0.2.9", "")).To(Equal(http.StatusUnauthorized))
	before := asked.Load()
	codes := map[int]int{}
	for i := range 2000 { // from one address, and from many
		codes[get("192.0.2.1", fmt.Sprint("bad-", i))]++
		codes[get(fmt.Sprintf("10.0.%d.%d", i/256, i%256), fmt.Sprint("also-bad-", i))]++
	}
	g.Expect(asked.Load()-before).To(BeNumerically("<", 200), "%v", codes)
	g.Expect(codes[http.StatusTooManyRequests]).To(BeNumerically(">", 1900))
	g.Expect(codes[http.StatusOK]).To(BeZero())
	g.Expect(lines).To(BeZero(), "rejected requests are not logged")
	g.Expect(get("192.0.2.9", "good")).To(Equal(http.StatusOK), "a known token is accepted meanwhile")
}

// certificate writes a certificate for a name into a folder, as cert-manager does.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	g.Expect(err).NotTo(HaveOccurred())
	private, err := x509.MarshalPKCS8PrivateKey(key)
	g.Expect(err).NotTo(HaveOccurred())
	write := func(file, kind string, content []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
		g.Expect(os.WriteFile(filepath.Join(dir, file), text, 0o600)).To(Succeed())
	}
	write("tls.key", "PRIVATE KEY", private)
	write("tls.crt", "CERTIFICATE", der)
}

func TestMetricsAreServedWithTheCurrentCertificate(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	certificate(t, dir, "first.example.com")
	config, _ := reviewer(t)
	opts := (&Options{MetricsAddress: "127.0.0.1:0", MetricsCertDir: dir}).metricsOptions()
	server, err := metricsserver.NewServer(opts, config, http.DefaultClient)
	g.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	address := func() string {
		return server.(interface{ GetBindAddr() string }).GetBindAddr()
	}
	g.Eventually(address, 10*time.Second, 10*time.Millisecond).ShouldNot(BeEmpty())
	names := func() []string {
		dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}}
		connection, err := dialer.Dial("tcp", address())
		if err != nil {
			return []string{err.Error()}
		}
		defer func(c net.Conn) { _ = c.Close() }(connection)
		state := connection.(*tls.Conn).ConnectionState()
		return append(state.PeerCertificates[0].DNSNames, state.NegotiatedProtocol)
	}
	g.Eventually(names, 10*time.Second, 10*time.Millisecond).Should(Equal([]string{"first.example.com", "http/1.1"}))
	certificate(t, dir, "second.example.com")
	g.Eventually(names, 30*time.Second, 50*time.Millisecond).Should(Equal([]string{"second.example.com", "http/1.1"}), "a new certificate is used at once")
	cancel()
	g.Expect(<-ended).To(Succeed())
}
