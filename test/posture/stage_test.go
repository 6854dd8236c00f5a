// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// apiServerPort is the port of the API servers on the machines.
const apiServerPort = 6443

// stage is a control plane of machines, with an operator.
type stage struct {
	*WithT
	t         *testing.T
	network   *network.Network
	authority *tlsservers.Authority
	policy    *v1alpha1.ControlPlaneNetworkPolicy
}

// newStage makes machines that are control-plane nodes, and starts an operator. The policy has the name of the test.
func newStage(t *testing.T, nodes ...string) *stage {
	t.Helper()
	network.Need(t, network.Available(t.Context()))
	s := &stage{WithT: NewWithT(t), t: t}
	var err error
	s.network, err = network.New(t.Context(), nodes...)
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(s.network.Close)
	s.authority, err = tlsservers.NewAuthority("cluster CA")
	s.Expect(err).NotTo(HaveOccurred())
	for _, name := range nodes {
		machine := s.network.Machine(name)
		node := testbed.Node(name, testbed.ControlPlaneNode(), testbed.InternalIP(machine.Cluster.IPv4.String()), testbed.WithoutKwok())
		s.Expect(testbed.CreateNode(t.Context(), admin, node)).To(Succeed())
		t.Cleanup(func() { _ = admin.Delete(context.Background(), node) })
	}
	s.showAPIServers(nodes...)
	s.start(accountConfig("cpnp-system", "cpnp-controller-manager", ""), func(mgr ctrl.Manager) error {
		return controllers.SetupWithManager(t.Context(), mgr, controllers.Options{})
	})
	return s
}

// showAPIServers writes the addresses of the nodes into the EndpointSlice of the API servers.
func (s *stage) showAPIServers(nodes ...string) {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(int32(apiServerPort))}},
	}
	for _, node := range nodes {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{s.network.Machine(node).Cluster.IPv4.String()}})
	}
	s.Expect(admin.Create(s.t.Context(), slice)).To(Succeed())
	s.t.Cleanup(func() { _ = admin.Delete(context.Background(), slice) })
}

// start starts a manager with the given credentials, which ends with the test.
func (s *stage) start(config *rest.Config, setup func(ctrl.Manager) error) {
	s.t.Helper()
	mgr, err := operator.NewManager(config)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(setup(mgr)).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			s.t.Error(err)
		}
	})
}

// observe starts the observers of nodes, as the probe pods do there.
func (s *stage) observe(nodes ...string) {
	s.t.Helper()
	for _, node := range nodes {
		s.start(accountConfig("cpnp-probe", "cpnp-probe", node), func(mgr ctrl.Manager) error {
			o := &probe.TLSObserver{Name: node, Roots: func() *x509.CertPool { return s.authority.RootPool() }}
			o.Prober.Dial = s.network.Machine(node).DialContext
			return probe.SetupTLSObserver(mgr, o)
		})
	}
}

// declare creates the policy of the test.
func (s *stage) declare(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	s.t.Helper()
	s.policy = &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(s.t.Name())},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{testbed.ControlPlaneRole: ""}},
			Profile:      v1alpha1.Profile{Distribution: "kubeadm"},
			Posture:      &v1alpha1.PostureSpec{TLS: &v1alpha1.TLSPosture{IntervalSeconds: 30}},
		},
	}
	for _, c := range change {
		c(&s.policy.Spec)
	}
	s.Expect(admin.Create(s.t.Context(), s.policy)).To(Succeed())
	s.t.Cleanup(func() {
		_ = admin.Delete(context.Background(), s.policy)
		s.Eventually(func() []v1alpha1.ControlPlaneNodePosture { return s.postures(context.Background()) }, deadline, interval).
			Should(BeEmpty(), "the postures go with the policy")
	})
}

func (s *stage) postures(ctx context.Context) []v1alpha1.ControlPlaneNodePosture {
	var list v1alpha1.ControlPlaneNodePostureList
	s.Expect(admin.List(ctx, &list)).To(Succeed())
	return slices.DeleteFunc(list.Items, func(p v1alpha1.ControlPlaneNodePosture) bool { return p.Spec.Policy != s.policy.Name })
}

// now returns the policy as the API server has it.
func (s *stage) now() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	s.Expect(admin.Get(s.t.Context(), client.ObjectKeyFromObject(s.policy), policy)).To(Succeed())
	return policy
}

// condition returns a function that returns a condition of the policy as status/reason.
func (s *stage) condition(kind string) func() string {
	return func() string {
		policy := s.now()
		c := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if c == nil || c.ObservedGeneration != policy.Generation {
			return ""
		}
		return string(c.Status) + "/" + c.Reason
	}
}

func (s *stage) message(kind string) string {
	return ptr.Deref(meta.FindStatusCondition(s.now().Status.Conditions, kind), metav1.Condition{}).Message
}

// findings returns the reported findings, as node component check.
func (s *stage) findings() []string {
	var found []string
	if posture := s.now().Status.Posture; posture != nil {
		for _, f := range posture.Findings {
			found = append(found, fmt.Sprint(f.Node, " ", f.Component, " ", f.Check))
		}
	}
	return found
}

// serve serves HTTP on a machine; without a configuration, without TLS.
func (s *stage) serve(node, endpoint string, config *tls.Config) (stop func()) {
	s.t.Helper()
	web := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
	listener, err := s.network.Machine(node).Serve(endpoint, func(conn net.Conn) { tlsservers.ServeHTTP(web, conn, config) })
	s.Expect(err).NotTo(HaveOccurred())
	return func() { _ = listener.Close() }
}

// address returns the address of a node.
func (s *stage) address(node string) string { return s.network.Machine(node).Cluster.IPv4.String() }

// issue returns a certificate for a node's address.
func (s *stage) issue(node string, change ...func(*tlsservers.Request)) tls.Certificate {
	s.t.Helper()
	request := tlsservers.Request{Name: node, Names: []string{s.address(node), "127.0.0.1"}}
	for _, c := range change {
		c(&request)
	}
	certificate, err := s.authority.IssueCertificate(request)
	s.Expect(err).NotTo(HaveOccurred())
	return certificate
}

// tlsConfig returns the configuration of a good server that requests client certificates.
func (s *stage) tlsConfig(node string, change ...func(*tls.Config)) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.issue(node)}, ClientAuth: tls.RequestClientCert, ClientCAs: s.authority.RootPool(),
	}
	for _, c := range change {
		c(config)
	}
	return config
}

// startEtcd starts a real etcd on a machine.
func (s *stage) startEtcd(node string, demandsCertificates bool, change ...func(*tlsservers.Request)) {
	s.t.Helper()
	dir := s.t.TempDir()
	certFile, keyFile, err := tlsservers.WriteFiles(dir, "server", s.issue(node, change...))
	s.Expect(err).NotTo(HaveOccurred())
	ca := filepath.Join(dir, "ca.crt")
	s.Expect(os.WriteFile(ca, s.authority.EncodePEM(), 0o600)).To(Succeed())
	client, peer := fmt.Sprintf("https://%s:2379", s.address(node)), fmt.Sprintf("https://%s:2380", s.address(node))
	args := []string{
		"--name=" + node, "--data-dir=" + filepath.Join(dir, "data"), "--unsafe-no-fsync", "--log-level=error",
		"--cert-file=" + certFile, "--key-file=" + keyFile, "--peer-cert-file=" + certFile, "--peer-key-file=" + keyFile,
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + node + "=" + peer,
	}
	if demandsCertificates {
		args = append(args, "--trusted-ca-file="+ca, "--client-cert-auth", "--peer-trusted-ca-file="+ca, "--peer-client-cert-auth")
	}
	// The etcd of a machine cannot write to this machine's disk, so its data is in memory.
	data := filepath.Join(dir, "data")
	s.Expect(os.Mkdir(data, 0o700)).To(Succeed())
	args = append([]string{"-c", `mount -t tmpfs -o mode=0700 tmpfs "$0" && exec "$@"`, data, filepath.Join(cluster.AssetsDir, "etcd")}, args...)
	command := exec.Command("sh", args...)
	process, err := cluster.StartProcess("etcd-"+node, command, s.network.Machine(node).Start)
	s.Expect(err).NotTo(HaveOccurred())
	s.t.Cleanup(process.Stop)
	s.Eventually(func() error {
		if err := process.Died(); err != nil {
			return StopTrying("etcd has ended").Wrap(err)
		}
		conn, err := s.network.Machine(node).DialContext(s.t.Context(), "tcp", s.address(node)+":2379")
		if err == nil {
			_ = conn.Close()
		}
		return err
	}, deadline, interval).Should(Succeed(), "etcd listens")
}

// startGood starts all servers of a good node.
func (s *stage) startGood(node string) {
	s.t.Helper()
	s.startEtcd(node, true)
	s.serve(node, fmt.Sprintf("%s:%d", s.address(node), apiServerPort), s.tlsConfig(node))
	s.serve(node, s.address(node)+":10250", s.tlsConfig(node))
	s.serve(node, "127.0.0.1:10257", s.tlsConfig(node))
	s.serve(node, "127.0.0.1:10259", s.tlsConfig(node))
}
