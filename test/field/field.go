// SPDX-License-Identifier: Apache-2.0

// Package field is a cluster on which the protection of hosts is tried: machines
// with a real Felix, whose packets are dropped or let through, and the operator.
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

// The ports of cp-1 at which somebody answers, and how long to wait.
const (
	EtcdPort      = 2379  // a failsafe port of Felix
	PeersPort     = 2380  // one as well
	APIServerPort = 6443  // one as well, and no component's: the test bed's API server has another one
	KubeletPort   = 10250 // none
	OtherPort     = 9999  // no component's
	Patience      = 2 * time.Minute
	Tick          = 100 * time.Millisecond
)

// Field is a cluster whose hosts are protected: two nodes of the control plane,
// a worker, and somebody outside.
type Field struct {
	*WithT
	T       *testing.T
	Cluster *calico.Cluster
	// observed is whether an observer was started.
	observed bool
}

// Enter starts one, which is gone when the test has ended.
func Enter(t *testing.T, backend calico.Backend) *Field {
	t.Helper()
	return EnterWith(t, calico.ClusterOptions{
		ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{Backend: backend, IPv6: true},
	})
}

// EnterWith starts one with options of its own.
func EnterWith(t *testing.T, o calico.ClusterOptions) *Field {
	t.Helper()
	network.Need(t, calico.Available(t.Context()))
	c, err := Installed.StartCluster(t.Context(), o)
	f := &Field{WithT: NewWithT(t), T: t, Cluster: c}
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { f.Expect(c.Stop()).To(Succeed()) })
	f.spare()
	for _, port := range []uint16{EtcdPort, PeersPort, APIServerPort, KubeletPort, OtherPort} {
		_, err := c.Machine("cp-1").Listen(network.TCP, port)
		f.Expect(err).NotTo(HaveOccurred())
	}
	return f
}

// spare adds a third node to the control plane, which is no machine: with two,
// etcd could not lose one, and nothing would be rolled out by itself.
func (f *Field) spare() {
	f.T.Helper()
	node := testbed.Node("cp-3", testbed.ControlPlaneNode(), testbed.InternalIP("192.0.2.3", "2001:db8::3"),
		testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue))
	f.Expect(testbed.CreateNode(f.T.Context(), Admin, node)).To(Succeed())
	f.T.Cleanup(func() { f.Expect(client.IgnoreNotFound(Admin.Delete(context.Background(), node))).To(Succeed()) })
}

// Background is for what is also done after the test has ended.
func (f *Field) Background() context.Context { return context.WithoutCancel(f.T.Context()) }

// Everybody who may try to connect to cp-1. "itself" uses its own address,
// "loopback" that of the loopback device.
var Everybody = []string{"cp-2", "worker-1", calico.Outsider, "itself", "loopback"}

// Reaches returns who reaches the port of cp-1, by IPv4 and by IPv6. All try at
// once: most of the time goes into waiting for what is dropped.
func (f *Field) Reaches(port uint16) map[string]string {
	f.T.Helper()
	results := make([][2]network.Verdict, len(Everybody))
	errs := make([]error, len(Everybody))
	var trying sync.WaitGroup
	for i, who := range Everybody {
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
	for i, who := range Everybody {
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

// Only is the result where these reach the port, and packets of all the others
// are dropped.
func Only(who ...string) map[string]string {
	result := map[string]string{}
	for _, name := range Everybody {
		result[name] = "Dropped/Dropped"
	}
	for _, name := range who {
		result[name] = "Open/Open"
	}
	return result
}

// Becomes waits until a port of cp-1 is reached as is wanted.
func (f *Field) Becomes(port uint16, want map[string]string) {
	f.T.Helper()
	f.Eventually(func() map[string]string { return f.Reaches(port) }, Patience, Tick).Should(Equal(want),
		func() string { return fmt.Sprintf("port %d\n%s", port, Enactments()) })
}
