// SPDX-License-Identifier: Apache-2.0

// Package field provides a cluster for tests of host protection: machines with a real
// Felix, whose packets are dropped or accepted, and the operator.
package field

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// The ports of cp-1 at which a server answers, and how long tests wait.
const (
	EtcdPort      = 2379  // a failsafe port of Felix
	PeersPort     = 2380  // a failsafe port of Felix too
	APIServerPort = 6443  // a failsafe port of no component: the test bed's API server has another port
	KubeletPort   = 10250 // not a failsafe port
	OtherPort     = 9999  // a port of no component
	Patience      = 2 * time.Minute
	Tick          = 100 * time.Millisecond
)

// Field is a cluster whose hosts are protected: two control-plane nodes, a worker, and a
// machine outside the cluster.
type Field struct {
	*WithT
	T       *testing.T
	Cluster *calico.Cluster
	// observed tells whether an observer was started.
	observed bool
}

// StartCluster starts a cluster, and removes the cluster when the test ends.
func StartCluster(t *testing.T, backend calico.Backend) *Field {
	t.Helper()
	return StartClusterWith(t, calico.ClusterOptions{
		ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{Backend: backend, IPv6: true},
	})
}

// StartClusterWith starts a cluster with other options.
func StartClusterWith(t *testing.T, o calico.ClusterOptions) *Field {
	t.Helper()
	network.Need(t, calico.Available(t.Context()))
	c, err := Installed.StartCluster(t.Context(), o)
	f := &Field{WithT: NewWithT(t), T: t, Cluster: c}
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { f.Expect(c.Stop()).To(Succeed()) })
	f.addSpareNode()
	for _, port := range []uint16{EtcdPort, PeersPort, APIServerPort, KubeletPort, OtherPort} {
		_, err := c.Machine("cp-1").Listen(network.TCP, port)
		f.Expect(err).NotTo(HaveOccurred())
	}
	return f
}

// addSpareNode adds a third control-plane node without a machine. With two nodes, etcd
// cannot lose any, and no rollout would start by itself.
func (f *Field) addSpareNode() {
	f.T.Helper()
	node := testbed.Node("cp-3", testbed.ControlPlaneNode(), testbed.InternalIP("192.0.2.3", "2001:db8::3"),
		testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue))
	f.Expect(testbed.CreateNode(f.T.Context(), Admin, node)).To(Succeed())
	f.T.Cleanup(func() { f.Expect(client.IgnoreNotFound(Admin.Delete(context.Background(), node))).To(Succeed()) })
}

// BackgroundContext is a context for work after the test has ended.
func (f *Field) BackgroundContext() context.Context { return context.WithoutCancel(f.T.Context()) }

// AllClients are the machines trying to connect to cp-1. "itself" uses cp-1's own address,
// "loopback" the address of the loopback device.
var AllClients = []string{"cp-2", "worker-1", calico.Outsider, "itself", "loopback"}

// ReachabilityOf tells which clients reach a port of cp-1, by IPv4 and by IPv6. All clients
// try at once, because dropped packets take most of the time.
func (f *Field) ReachabilityOf(port uint16) map[string]string {
	f.T.Helper()
	results := make([][2]network.Verdict, len(AllClients))
	errs := make([]error, len(AllClients))
	var trying sync.WaitGroup
	for i, who := range AllClients {
		target, from := f.Cluster.Machine("cp-1"), f.Cluster.Machine(who)
		to := target.Cluster
		switch who {
		case "itself":
			from = target
		case "loopback":
			from, to = target, network.Addresses{IPv4: netip.MustParseAddr("127.0.0.1"), IPv6: netip.IPv6Loopback()}
		}
		trying.Go(func() { results[i], errs[i] = DialBoth(from, to, network.TCP, port) })
	}
	trying.Wait()
	f.Expect(errors.Join(errs...)).NotTo(HaveOccurred())
	reached := map[string]string{}
	for i, who := range AllClients {
		reached[who] = fmt.Sprintf("%s/%s", results[i][0], results[i][1])
	}
	return reached
}

// DialBoth tries IPv4 and IPv6 at once.
func DialBoth(from *network.Machine, to network.Addresses, protocol network.Protocol, port uint16, options ...network.DialOption) (
	verdicts [2]network.Verdict, err error,
) {
	var errs [2]error
	var trying sync.WaitGroup
	for i, address := range []netip.Addr{to.IPv4, to.IPv6} {
		trying.Go(func() { verdicts[i], errs[i] = from.Dial(protocol, netip.AddrPortFrom(address, port), options...) })
	}
	trying.Wait()
	return verdicts, errors.Join(errs[:]...)
}

// OnlyFrom is the expected reachability where the given clients reach the port, and packets
// of all other clients are dropped.
func OnlyFrom(who ...string) map[string]string {
	result := map[string]string{}
	for _, name := range AllClients {
		result[name] = "Dropped/Dropped"
	}
	for _, name := range who {
		result[name] = "Open/Open"
	}
	return result
}

// WaitForReachability waits until a port of cp-1 is reachable as wanted.
func (f *Field) WaitForReachability(port uint16, want map[string]string) {
	f.T.Helper()
	f.Eventually(func() map[string]string { return f.ReachabilityOf(port) }, Patience, Tick).Should(Equal(want),
		func() string { return fmt.Sprintf("port %d\n%s", port, DescribeEnactments()) })
}
