// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// The data of the shared server: more than the buffers of a connection can
// hold, so that a snapshot can be stopped half-way.
const (
	keys      = 60
	valueSize = 256 << 10
)

// started counts the servers, for their names.
var started atomic.Int32

// etcd is a running server with TLS.
type etcd struct {
	endpoint string
	dataDir  string
	process  *testbed.Process
	client   *clientv3.Client
}

// startEtcd starts a server with the server certificate of an authority.
func startEtcd(dir string, p *pki) (*etcd, error) {
	return startEtcdOn(filepath.Join(dir, fmt.Sprintf("data-%d", started.Add(1))), p, "server", freeAddress(), freeAddress())
}

// startEtcdOn starts a server on a data directory, which may have been restored.
func startEtcdOn(dataDir string, p *pki, certificate, address, peer string) (*etcd, error) {
	name := filepath.Base(dataDir)
	cmd := exec.Command(filepath.Join(cluster.AssetsDir, "etcd"),
		"--name=default", "--data-dir="+dataDir, "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls=https://"+address, "--advertise-client-urls=https://"+address,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=default=http://"+peer,
		"--cert-file="+p.file(certificate+".crt"), "--key-file="+p.file(certificate+".key"),
		"--client-cert-auth", "--trusted-ca-file="+p.file("ca.crt"))
	process, err := cluster.StartProcess("etcd-"+name, cmd, nil)
	if err != nil {
		return nil, err
	}
	client, err := newClient(address, p)
	if err != nil {
		return nil, err
	}
	e := &etcd{endpoint: "https://" + address, dataDir: dataDir, process: process, client: client}
	return e, e.waitUntilReady()
}

func newClient(address string, p *pki) (*clientv3.Client, error) {
	pair, err := tls.LoadX509KeyPair(p.file("client.crt"), p.file("client.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(p.file("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(text)
	// The name allows the client even where the certificate is for another address.
	credentials := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	return clientv3.New(clientv3.Config{Endpoints: []string{"https://" + address}, TLS: credentials, Logger: zap.NewNop()})
}

func (e *etcd) waitUntilReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		connection, err := net.Dial("tcp", e.endpoint[len("https://"):])
		if err == nil {
			return connection.Close()
		}
		if died := e.process.Died(); died != nil {
			return died
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// fill writes keys, with values that differ.
func (e *etcd) fill(count, size int) error {
	for i := range count {
		value := bytes.Repeat([]byte{byte(i), byte(i >> 8), 'x', 'y'}, size/4)
		if _, err := e.client.Put(context.Background(), fmt.Sprintf("/registry/%04d", i), string(value)); err != nil {
			return err
		}
	}
	return nil
}

// freeAddress returns an address of loopback without a listener.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
