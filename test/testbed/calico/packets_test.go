// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

const (
	component = 8080 // a port of any component
	etcd      = 2379 // a failsafe port of Calico
	canary    = 9
)

func startCluster(t *testing.T, b *bed, o calico.ClusterOptions) *calico.Cluster {
	t.Helper()
	network.Need(t, calico.Available(t.Context()))
	begin := time.Now()
	cluster, err := b.calico.StartCluster(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("cluster in %s", time.Since(begin).Round(time.Millisecond))
	return cluster
}

// enforcesRendering follows a policy from creation to deletion with real packets, of both
// families.
func enforcesRendering(t *testing.T, b *bed, backend calico.Backend) {
	cluster := startCluster(t, b, calico.ClusterOptions{
		ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{Backend: backend, IPv6: true},
	})
	w := watchMachine(t, cluster.Machine("cp-1"), cluster.Machine("cp-2"), cluster.Machine("worker-1"), cluster.Machine(calico.Outsider))
	w.expectVerdicts("nothing is written", alwaysOpen)

	endpoint := lastOf(b.applyFile(t, "testdata/rendering.yaml"), "HostEndpoint")
	w.waitForVerdicts("the policy is there", func(f flow) network.Verdict {
		return openOrDropped(f.port != canary || f.from == "cp-1" || f.from == "loopback")
	})

	b.labelEndpoint(t, endpoint, `"true"`)
	w.waitForVerdicts("the node is enforced: only the node itself reaches the component, everybody the failsafe port",
		func(f flow) network.Verdict {
			return openOrDropped(f.port == etcd || f.from == "cp-1" || f.from == "loopback")
		})

	b.applyFile(t, "testdata/failsafe.yaml")
	w.waitForVerdicts("the failsafe port is narrowed: only the peers reach it", func(f flow) network.Verdict {
		return openOrDropped(f.from == "cp-1" || f.from == "loopback" || f.from == "cp-2" && f.port == etcd)
	})
	NewWithT(t).Expect(cluster.Felix("cp-1").Restarts()).To(BeNumerically(">", 0))
	NewWithT(t).Expect(cluster.Felix("cp-2").Restarts()).To(BeZero())

	b.labelEndpoint(t, endpoint, "null")
	w.waitForVerdicts("the node is released", func(f flow) network.Verdict {
		return openOrDropped(f.port != canary || f.from == "cp-1" || f.from == "loopback")
	})
}

// leavesIPv6Unfiltered: a Felix without support for IPv6 leaves IPv6 unfiltered.
func leavesIPv6Unfiltered(t *testing.T, b *bed) {
	cluster := startCluster(t, b, calico.ClusterOptions{ControlPlane: 1})
	w := watchMachine(t, cluster.Machine("cp-1"), cluster.Machine(calico.Outsider))
	b.labelEndpoint(t, lastOf(b.applyFile(t, "testdata/rendering.yaml"), "HostEndpoint"), `"true"`)
	w.waitForVerdicts("IPv4 alone is dropped", func(f flow) network.Verdict {
		return openOrDropped(f.family == "IPv6" || f.port == etcd || f.from != calico.Outsider)
	})
}

// survivesLockout: a host endpoint without policy and profile cuts all traffic except
// between Felix and the API server, even after a restart of Felix. Otherwise Felix would
// never learn of the end of the lockout.
func survivesLockout(t *testing.T, b *bed, backend calico.Backend) {
	g := NewWithT(t)
	cluster := startCluster(t, b, calico.ClusterOptions{Workers: 1, Felix: calico.FelixOptions{Backend: backend, IPv6: true}})
	w := watchMachine(t, cluster.Machine("worker-1"), cluster.Machine(calico.Outsider))
	endpoint := b.applyFile(t, "testdata/lock-out.yaml")[0]
	onlyFailsafes := func(f flow) network.Verdict { return openOrDropped(f.port == etcd) }
	w.waitForVerdicts("only failsafe ports are open", onlyFailsafes)

	g.Expect(cluster.Felix("worker-1").Restart(t.Context())).To(Succeed())
	g.Expect(cluster.Felix("worker-1").Restarts()).To(Equal(1))
	w.expectVerdicts("they are after a restart", onlyFailsafes)
	g.Expect(b.client.Delete(t.Context(), endpoint)).To(Succeed())
	w.waitForVerdicts("everything is open again", alwaysOpen)
}

// createsAutomaticEndpoints: kube-controllers creates an endpoint for each node when
// configured to do so.
func createsAutomaticEndpoints(t *testing.T, b *bed) {
	g := NewWithT(t)
	cluster := startCluster(t, b, calico.ClusterOptions{Workers: 1, KubeControllers: true})
	g.Eventually(b.setAutoCreate(t.Context(), "Enabled"), deadline, interval).Should(Succeed())

	endpoint := &unstructured.Unstructured{}
	endpoint.SetAPIVersion("projectcalico.org/v3")
	endpoint.SetKind("HostEndpoint")
	endpoint.SetName("worker-1-auto-hep")
	key := client.ObjectKeyFromObject(endpoint)
	t.Cleanup(func() {
		ctx := context.Background() // the test's own context has ended
		g.Eventually(b.setAutoCreate(ctx, "Disabled"), deadline, interval).Should(Succeed())
		g.Eventually(func() bool {
			return apierrors.IsNotFound(b.client.Get(ctx, key, endpoint))
		}, deadline, interval).Should(BeTrue(), "the endpoint would stay for the next cluster's worker-1")
	})
	g.Eventually(func() error { return b.client.Get(t.Context(), key, endpoint) }, deadline, interval).Should(Succeed())
	g.Expect(endpoint.Object["spec"]).To(HaveKeyWithValue("expectedIPs",
		ContainElements(cluster.Machine("worker-1").Cluster.IPv4.String())))
}

// setAutoCreate makes kube-controllers create or delete host endpoints.
func (b *bed) setAutoCreate(ctx context.Context, value string) func() error {
	patch := `{"spec":{"controllers":{"node":{"hostEndpoint":{"autoCreate":"` + value + `"}}}}}`
	return func() error {
		configuration := &unstructured.Unstructured{}
		configuration.SetAPIVersion("projectcalico.org/v3")
		configuration.SetKind("KubeControllersConfiguration")
		configuration.SetName("default")
		return b.client.Patch(ctx, configuration, client.RawPatch("application/merge-patch+json", []byte(patch)))
	}
}

// lastOf returns the last object of a kind.
func lastOf(objects []*unstructured.Unstructured, kind string) *unstructured.Unstructured {
	var found *unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == kind {
			found = object
		}
	}
	return found
}

// labelEndpoint sets the label that enforces a policy on a host endpoint.
func (b *bed) labelEndpoint(t *testing.T, endpoint client.Object, value string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"cpnp.dev/enforced":%s}}}`, value)
	if err := b.client.Patch(t.Context(), endpoint, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

// flow is one path to one port of the watched machine.
type flow struct {
	from, family string
	port         uint16
}

// watched is a machine with listeners, and all flows to this machine.
type watched struct {
	t     *testing.T
	flows map[flow]func() (network.Verdict, error)
}

// watchMachine listens on the machine, and dials the machine from all machines, including
// itself, and through its loopback.
func watchMachine(t *testing.T, target *network.Machine, others ...*network.Machine) *watched {
	t.Helper()
	w := &watched{t: t, flows: map[flow]func() (network.Verdict, error){}}
	loopback := network.Addresses{IPv4: netip.MustParseAddr("127.0.0.1"), IPv6: netip.IPv6Loopback()}
	for _, port := range []uint16{component, etcd, canary} {
		if _, err := target.Listen(network.TCP, port); err != nil {
			t.Fatal(err)
		}
		w.addFlows("loopback", target, loopback, port)
		for _, from := range append(others, target) {
			w.addFlows(from.Name, from, target.Cluster, port)
		}
	}
	return w
}

func (w *watched) addFlows(name string, from *network.Machine, to network.Addresses, port uint16) {
	for family, address := range map[string]netip.Addr{"IPv4": to.IPv4, "IPv6": to.IPv6} {
		w.flows[flow{name, family, port}] = func() (network.Verdict, error) {
			return from.Dial(network.TCP, netip.AddrPortFrom(address, port))
		}
	}
}

// findDifferences dials all flows at the same time.
func (w *watched) findDifferences(want func(flow) network.Verdict) []string {
	var mu sync.Mutex
	var dialling sync.WaitGroup
	var all []string
	for f, dial := range w.flows {
		dialling.Go(func() {
			if got, err := dial(); err != nil || got != want(f) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, fmt.Sprintf("from %s to %d by %s: %s, not %s (%v)", f.from, f.port, f.family, got, want(f), err))
			}
		})
	}
	dialling.Wait()
	return all
}

func (w *watched) expectVerdicts(state string, want func(flow) network.Verdict) {
	w.t.Helper()
	NewWithT(w.t).Expect(w.findDifferences(want)).To(BeEmpty(), state)
}

func (w *watched) waitForVerdicts(state string, want func(flow) network.Verdict) {
	w.t.Helper()
	begin := time.Now()
	NewWithT(w.t).Eventually(func() []string { return w.findDifferences(want) }, deadline, interval).Should(BeEmpty(), state)
	w.t.Logf("%s: %s", state, time.Since(begin).Round(time.Millisecond))
}

func alwaysOpen(flow) network.Verdict { return network.Open }

func openOrDropped(open bool) network.Verdict {
	if open {
		return network.Open
	}
	return network.Dropped
}
