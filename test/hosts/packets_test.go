// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	render "github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

const (
	etcdPort      = 2379  // a failsafe port of Felix
	peersPort     = 2380  // one as well
	apiServerPort = 6443  // one as well, and no component's: the test bed's API server has another one
	kubeletPort   = 10250 // none
	otherPort     = 9999  // no component's
	patience      = time.Minute
	tick          = 100 * time.Millisecond
)

// field is a cluster whose hosts are protected: two nodes of the control plane,
// a worker, and somebody outside.
type field struct {
	*WithT
	t       *testing.T
	cluster *calico.Cluster
}

func enter(t *testing.T, backend calico.Backend) *field {
	t.Helper()
	return enterWith(t, calico.ClusterOptions{
		ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{Backend: backend, IPv6: true},
	})
}

func enterWith(t *testing.T, o calico.ClusterOptions) *field {
	t.Helper()
	network.Need(t, calico.Available(t.Context()))
	c, err := installed.StartCluster(t.Context(), o)
	f := &field{WithT: NewWithT(t), t: t, cluster: c}
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { f.Expect(c.Stop()).To(Succeed()) })
	f.spare()
	for _, port := range []uint16{etcdPort, peersPort, apiServerPort, kubeletPort, otherPort} {
		_, err := c.Machine("cp-1").Listen(network.TCP, port)
		f.Expect(err).NotTo(HaveOccurred())
	}
	return f
}

// spare adds a third node to the control plane, which is no machine: with two,
// etcd could not lose one, and nothing would be rolled out by itself.
func (f *field) spare() {
	f.t.Helper()
	node := testbed.Node("cp-3", testbed.ControlPlaneNode(), testbed.InternalIP("192.0.2.3", "2001:db8::3"),
		testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue))
	f.Expect(testbed.CreateNode(f.t.Context(), admin, node)).To(Succeed())
	f.t.Cleanup(func() { f.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), node))).To(Succeed()) })
}

// background is for what is also done after the test has ended.
func (f *field) background() context.Context { return context.WithoutCancel(f.t.Context()) }

// everybody who may try to connect to cp-1. "itself" uses its own address,
// "loopback" that of the loopback device.
var everybody = []string{"cp-2", "worker-1", calico.Outsider, "itself", "loopback"}

// reaches returns who reaches the port of cp-1, by IPv4 and by IPv6. All try at
// once: most of the time goes into waiting for what is dropped.
func (f *field) reaches(port uint16) map[string]string {
	f.t.Helper()
	results := make([][2]network.Verdict, len(everybody))
	errs := make([]error, len(everybody))
	var trying sync.WaitGroup
	for i, who := range everybody {
		target, from := f.cluster.Machine("cp-1"), f.cluster.Machine(who)
		to := target.Cluster
		switch who {
		case "itself":
			from = target
		case "loopback":
			from, to = target, network.Addresses{IPv4: netip.MustParseAddr("127.0.0.1"), IPv6: netip.IPv6Loopback()}
		}
		trying.Go(func() { results[i], errs[i] = dialBoth(from, to, network.TCP, port) })
	}
	trying.Wait()
	f.Expect(errors.Join(errs...)).NotTo(HaveOccurred())
	reached := map[string]string{}
	for i, who := range everybody {
		reached[who] = fmt.Sprintf("%s/%s", results[i][0], results[i][1])
	}
	return reached
}

// dialBoth tries IPv4 and IPv6 at once.
func dialBoth(from *network.Machine, to network.Addresses, protocol network.Protocol, port uint16, options ...network.DialOption) (
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

// only is the result where these reach the port, and packets of all the others
// are dropped.
func only(who ...string) map[string]string {
	result := map[string]string{}
	for _, name := range everybody {
		result[name] = "Dropped/Dropped"
	}
	for _, name := range who {
		result[name] = "Open/Open"
	}
	return result
}

func (f *field) becomes(port uint16, want map[string]string) {
	f.t.Helper()
	f.Eventually(func() map[string]string { return f.reaches(port) }, patience, tick).Should(Equal(want), func() string { return fmt.Sprintf("port %d\n%s", port, enactments()) })
}

// hosts returns the intent: etcd and the kubelet for the control plane alone.
func (f *field) hosts() render.Hosts {
	members := map[string][]netip.Prefix{}
	hosts := render.Hosts{Policy: "packets"}
	for _, name := range []string{"cp-1", "cp-2"} {
		a := f.cluster.Machine(name).Cluster
		members[name] = []netip.Prefix{netip.PrefixFrom(a.IPv4, 32), netip.PrefixFrom(a.IPv6, 128)}
		hosts.Nodes = append(hosts.Nodes, render.Node{Name: name, Addresses: []netip.Addr{a.IPv4, a.IPv6}, Enforced: true})
	}
	hosts.Sets = []render.Set{{Name: "control-plane", Members: members}}
	for name, port := range map[string]uint16{"etcd": etcdPort, "kubelet": kubeletPort} {
		hosts.Components = append(hosts.Components, render.Component{
			Name:  name,
			Ports: []profile.Traffic{{Protocol: profile.TCP, First: port, Last: port}},
			From:  []render.Source{{Set: "control-plane"}},
		})
	}
	return hosts
}

// The restriction of a port that is no failsafe holds at once; that of etcd is
// void until Felix's failsafe ports are narrowed; and what is no component's
// stays as it was. In both ways in which Felix writes its rules.
func TestComponentsAreReachedByTheirPeersOnly(t *testing.T) {
	for _, backend := range []calico.Backend{calico.IPTables, calico.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			f := enter(t, backend)
			for _, port := range []uint16{etcdPort, kubeletPort, otherPort} {
				f.Expect(f.reaches(port)).To(Equal(only(everybody...)), "before the policy, port %d", port)
			}
			hosts := f.hosts()
			write(t, hosts)
			f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
			f.Expect(f.reaches(etcdPort)).To(Equal(only(everybody...)), "a failsafe port, whatever the policy says")
			f.Expect(f.reaches(otherPort)).To(Equal(only(everybody...)), "no component's port")

			hosts.ScopeFailsafes = true
			write(t, hosts)
			f.becomes(etcdPort, only("cp-2", "itself", "loopback"))
			f.Expect(f.reaches(otherPort)).To(Equal(only(everybody...)))
		})
	}
}

// A node that is not enforced is not restricted, and one that is taken back is
// open again.
func TestOneLabelEnforcesAndTakesBack(t *testing.T) {
	f := enter(t, calico.IPTables)
	hosts := f.hosts()
	hosts.Nodes[0].Enforced = false
	write(t, hosts)
	f.Expect(f.reaches(kubeletPort)).To(Equal(only(everybody...)))
	hosts.Nodes[0].Enforced = true
	write(t, hosts)
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.Expect(admin.Patch(t.Context(), named(&v3.HostEndpoint{}, "cpnp-cp-1"),
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"cpnp.dev/enforced":null}}}`)))).To(Succeed())
	f.becomes(kubeletPort, only(everybody...))
}

// Everything that is neither a component's nor required nor listed is dropped,
// failsafe ports apart.
func TestWhatIsNotListedIsDropped(t *testing.T) {
	f := enter(t, calico.IPTables)
	hosts := f.hosts()
	hosts.DenyUnlisted = true
	hosts.Listed = []render.Flow{
		// Without neighbour discovery there is no IPv6 at all.
		{Name: "neighbours", From: []render.Source{{}}, Traffic: []profile.Traffic{
			{Protocol: profile.ICMPv6, Number: 135}, {Protocol: profile.ICMPv6, Number: 136},
		}},
		{Name: "other", From: []render.Source{{Prefixes: hosts.Sets[0].Members["cp-2"]}}, Traffic: []profile.Traffic{
			{Protocol: profile.TCP, First: otherPort, Last: otherPort},
		}},
	}
	write(t, hosts)
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.becomes(otherPort, only("cp-2", "itself", "loopback"))
}
