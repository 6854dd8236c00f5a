// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
)

// Every obstacle between a run and etcd has its own message with the remedy, and leaves no file.
func TestConnectionErrorsNameTheRemedy(t *testing.T) {
	g := gomega(t)
	other, err := newPKI(t.TempDir())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(authority.issue("expired-client", "127.0.0.1", -time.Minute)).To(Succeed())
	g.Expect(authority.issue("elsewhere", "192.0.2.1", time.Hour)).To(Succeed())
	elsewhere, err := startEtcdOn(filepath.Join(t.TempDir(), "elsewhere"), authority, "elsewhere", freeAddress(), freeAddress())
	g.Expect(err).NotTo(HaveOccurred())
	defer elsewhere.process.Stop()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	garbage := answerWith(t, "garbage, and more of it\n")

	tests := map[string]struct {
		change func(*etcdsnapshot.Options)
		want   string
	}{
		"another CA": {func(o *etcdsnapshot.Options) { o.CACert = other.file("ca.crt") }, "set --cacert to the CA of etcd"},
		"a client certificate of another CA": {
			func(o *etcdsnapshot.Options) { o.Cert, o.Key = other.file("client.crt"), other.file("client.key") }, "etcd refuses the client certificate",
		},
		"an expired client certificate": {
			func(o *etcdsnapshot.Options) {
				o.Cert, o.Key = authority.file("expired-client.crt"), authority.file("expired-client.key")
			}, "etcd refuses the client certificate",
		},
		"no client certificate":             {func(o *etcdsnapshot.Options) { o.Cert = authority.file("none") }, "none does not exist: set --cert"},
		"another key":                       {func(o *etcdsnapshot.Options) { o.Key = authority.file("server.key") }, "are not a certificate and its key"},
		"a CA that is no certificate":       {func(o *etcdsnapshot.Options) { o.CACert = authority.file("client.key") }, "has no certificate in PEM"},
		"nothing listens":                   {func(o *etcdsnapshot.Options) { o.Endpoints = "https://" + freeAddress() }, "nothing listens there"},
		"a certificate for another address": {func(o *etcdsnapshot.Options) { o.Endpoints = elsewhere.endpoint }, "for other addresses"},
		"a server without TLS":              {func(o *etcdsnapshot.Options) { o.Endpoints = "https" + plain.URL[len("http"):] }, "does not answer with TLS"},
		"a server with garbage":             {func(o *etcdsnapshot.Options) { o.Endpoints = garbage }, "does not answer with TLS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := gomega(t)
			dir := backupFolder(t)
			taker, _ := newTaker(dir, server.endpoint)
			test.change(&taker.Options)
			_, err := taker.Take(t.Context())
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
			g.Expect(filesIn(g, dir)).To(BeEmpty())
		})
	}
}

// A server that never answers costs no more than the timeout.
func TestSilentServerEndsInATimeout(t *testing.T) {
	g := gomega(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and no process answers
	g.Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	taker, _ := newTaker(backupFolder(t), "https://"+listener.Addr().String())
	taker.Timeout = 300 * time.Millisecond
	begin := time.Now()
	_, err = taker.Take(t.Context())
	g.Expect(err).To(MatchError(And(ContainSubstring("raise --timeout"), ContainSubstring("check that etcd runs"))))
	g.Expect(time.Since(begin)).To(BeNumerically("<", 5*time.Second))
}

// answerWith returns the endpoint of a server that gives the same text as every answer.
func answerWith(t *testing.T, text string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = connection.Write([]byte(text))
			_ = connection.Close()
		}
	}()
	return "https://" + listener.Addr().String()
}
