// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.etcd.io/bbolt"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// fakeMember is a member of etcd that reports the states that a test needs.
// These states cannot be caused in a real etcd.
type fakeMember struct {
	// statuses are the answers, one per request; the last one is repeated.
	statuses []*pb.StatusResponse
	content  []byte
	// asked and sent count the requests for a status and for a snapshot.
	asked, sent int
}

// ServeHTTP answers by the rules of gRPC, and answers other requests as etcd answers /version.
func (m *fakeMember) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	var message proto.Message
	switch r.URL.Path {
	case "/etcdserverpb.Maintenance/Status":
		message = m.statuses[min(m.asked, len(m.statuses)-1)]
		m.asked++
	case "/etcdserverpb.Maintenance/Snapshot":
		message = &pb.SnapshotResponse{Blob: m.content, Version: "3.7.3"}
		m.sent++
	default:
		return
	}
	text, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))))
	_, _ = w.Write(text)
}

// memberPKI has the one certificate of members and client, in files.
type memberPKI struct {
	cert, key string
	pair      tls.Certificate
}

func newMemberPKI(t *testing.T) memberPKI {
	t.Helper()
	g, dir := NewWithT(t), t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	g.Expect(err).NotTo(HaveOccurred())
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	g.Expect(err).NotTo(HaveOccurred())
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		g.Expect(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)).To(Succeed())
		return path
	}
	return memberPKI{
		cert: write("cert", "CERTIFICATE", certDER), key: write("key", "PRIVATE KEY", keyDER),
		pair: tls.Certificate{Certificate: [][]byte{certDER}, PrivateKey: key},
	}
}

// serve starts a member, and returns its endpoint.
func (p memberPKI) serve(t *testing.T, m *fakeMember) string {
	t.Helper()
	server := httptest.NewUnstartedServer(m)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{p.pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// encodeSnapshot returns a snapshot as etcd sends it: a database with one key at a revision, and the hash.
func encodeSnapshot(t *testing.T, revision int64) []byte {
	t.Helper()
	g, path := NewWithT(t), filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(db.Update(func(tx *bbolt.Tx) error {
		keys, err := tx.CreateBucket(keyBucket)
		if err != nil {
			return err
		}
		value, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte("a")})
		if err != nil {
			return err
		}
		return keys.Put(append(binary.BigEndian.AppendUint64(nil, uint64(revision)), "_\x00\x00\x00\x00\x00\x00\x00\x00"...), value)
	})).To(Succeed())
	var size int64
	g.Expect(db.View(func(tx *bbolt.Tx) error { size = tx.Size(); return nil })).To(Succeed())
	g.Expect(db.Close()).To(Succeed())
	content, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	sum := sha256.Sum256(content[:size])
	return append(content[:size:size], sum[:]...)
}
