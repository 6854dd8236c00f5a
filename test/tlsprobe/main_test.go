// SPDX-License-Identifier: Apache-2.0

// Package tlsprobe tests internal/tlsprobe on the real components of a control plane, both well and badly configured.
package tlsprobe

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

const (
	deadline = 60 * time.Second
	interval = 50 * time.Millisecond
)

var cluster *testbed.ControlPlane

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(m, testbed.Options{}, &cluster))
}

// startProgram starts a program of the control plane, which ends with the test.
func startProgram(t *testing.T, program, name string, args ...string) {
	t.Helper()
	process, err := cluster.StartProcess(name, exec.Command(filepath.Join(cluster.AssetsDir, program), args...), nil)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(process.Died())
		}
		process.Stop()
	})
}

// freePort returns a port of loopback without a listener.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// files are the paths of a certificate, its key and its authority.
type files struct{ certificate, key, authority string }

// writeFiles issues a certificate, and writes it to files.
func writeFiles(t *testing.T, authority *tlsservers.Authority, request tlsservers.Request) files {
	t.Helper()
	g := NewWithT(t)
	dir := t.TempDir()
	certificate, err := authority.IssueCertificate(request)
	g.Expect(err).NotTo(HaveOccurred())
	var f files
	f.certificate, f.key, err = tlsservers.WriteFiles(dir, "server", certificate)
	g.Expect(err).NotTo(HaveOccurred())
	f.authority = filepath.Join(dir, "ca.crt")
	g.Expect(os.WriteFile(f.authority, authority.EncodePEM(), 0o600)).To(Succeed())
	return f
}

// etcdPorts are the ports of an etcd.
type etcdPorts struct{ client, peer, metrics int }

// startEtcd starts an etcd of one member. Without files, the etcd has no TLS.
func startEtcd(t *testing.T, name string, f files, demandCertificates bool) etcdPorts {
	t.Helper()
	ports := etcdPorts{freePort(t), freePort(t), freePort(t)}
	scheme := "http"
	args := []string{}
	if f.certificate != "" {
		scheme = "https"
		args = append(args, "--cert-file="+f.certificate, "--key-file="+f.key, "--peer-cert-file="+f.certificate, "--peer-key-file="+f.key)
	}
	if demandCertificates {
		// An authority alone makes etcd demand certificates too, even with --client-cert-auth=false.
		args = append(args, "--trusted-ca-file="+f.authority, "--client-cert-auth",
			"--peer-trusted-ca-file="+f.authority, "--peer-client-cert-auth")
	}
	client := fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports.client)
	peer := fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports.peer)
	startProgram(t, "etcd", name, append(args, "--name="+name, "--data-dir="+t.TempDir(), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster="+name+"="+peer,
		fmt.Sprintf("--listen-metrics-urls=http://127.0.0.1:%d", ports.metrics))...)
	return ports
}

// startComponent starts a scheduler or a controller-manager with a TLS port.
func startComponent(t *testing.T, program, name string, args ...string) int {
	t.Helper()
	kubeconfig, err := cluster.AddUserKubeconfig("system:"+strings.TrimPrefix(name, "system:"), testbed.Masters)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	port := freePort(t)
	startProgram(t, program, name, append([]string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--leader-elect=false",
	}, args...)...)
	return port
}
