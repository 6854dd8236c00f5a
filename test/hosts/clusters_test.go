// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/reality"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

var (
	clusterSeed = flag.Uint64("cluster-seed", 1, "seed of the first random cluster")
	clusters    = flag.Int("clusters", 3, "how many random clusters of which the policy is verified to try with packets")
)

// A sample of the random clusters that package controllers judges is tried with packets.
// Whenever all conditions are True, required connections work and senders that are not let
// in are dropped, also while API servers come and go.
func TestVerdictsHoldInRandomClusters(t *testing.T) {
	network.Need(t, calico.Available(t.Context()))
	const perVerified = 20
	seed := *clusterSeed
	for tried := 0; tried < *clusters && !t.Failed() && seed < *clusterSeed+uint64(perVerified**clusters); seed++ {
		t.Run(fmt.Sprintf("cluster-seed=%d", seed), func(t *testing.T) {
			if newWorld(t, seed).tryCluster() {
				tried++
			}
		})
	}
}

// world is a random cluster. Machines are started once the policy is verified.
type world struct {
	*field.Field
	is *reality.Reality
	at map[netip.Addr]*network.Machine // the machine of each address that only one machine has
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{Field: &field.Field{WithT: NewWithT(t), T: t}, is: reality.Make(seed), at: map[netip.Addr]*network.Machine{}}
	objects := w.is.Objects()
	for _, pool := range w.is.Pools() {
		objects = append(objects, &pool)
	}
	// Unselected members without machines. With so many members, etcd can lose several
	// others.
	for i := range 8 {
		objects = append(objects, testbed.Node(fmt.Sprintf("spare-%d", i), testbed.NodeLabels(map[string]string{"node-role.kubernetes.io/master": ""}),
			testbed.InternalIP(fmt.Sprintf("198.51.100.%d", i+1))))
	}
	for _, object := range objects {
		if node, is := object.(*corev1.Node); is {
			testbed.NodeReady(corev1.ConditionTrue)(node)
			w.Expect(testbed.CreateNode(t.Context(), field.Admin, node)).To(Succeed())
		} else {
			w.Expect(field.Admin.Create(t.Context(), object)).To(Succeed())
		}
		t.Cleanup(func() { field.DeleteNow(w.Field, object) })
	}
	return w
}

// tryCluster tries a cluster with packets where the policy is verified, and tells whether
// the policy was verified.
func (w *world) tryCluster() bool {
	policy := w.is.Policy()
	policy.ObjectMeta = w.NewPolicy().ObjectMeta
	policy.Spec.Mode = v1alpha1.ModeAudit
	policy.Spec.Rollout = &v1alpha1.Rollout{SoakSeconds: ptr.To[int32](0), MaxUnavailable: 4}
	w.announceServers(true)
	w.StartOperatorWith(field.OperatorConfig, field.SteadySoon)
	w.CreatePolicy(policy)
	w.Eventually(field.ConditionOf(v1alpha1.ConditionVerified), field.Patience, field.Tick).ShouldNot(BeElementOf("none", "Unknown/Pending"))
	w.Eventually(func() int { return len(field.PolicyNow().Status.APIServers) }, field.Patience, field.Tick).Should(Equal(len(w.is.Servers(true))))
	w.announceServers(false)
	if verified := field.ConditionOf(v1alpha1.ConditionVerified)(); !strings.HasPrefix(verified, "True/") {
		w.T.Logf("Verified is %s", verified)
		return false
	}
	w.startMachines()
	tries := w.possibleConnections()
	w.Eventually(func() []string { return w.wrongConnections(tries, true) }, field.Patience, field.Tick).Should(BeEmpty(), "before the policy")
	w.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Mode = v1alpha1.ModeEnforce })
	w.waitUntilEffective(tries)
	for i := range w.is.Machines { // the stopped members run again, and other members stop
		w.is.Machines[i].Running = w.is.Machines[i].ControlPlane && (i == 0 || !w.is.Machines[i].Running)
	}
	w.announceServers(false)
	w.waitUntilEffective(tries)
	return true
}

// announceServers announces the running API servers, or all API servers, and waits until
// the operator knows these addresses.
func (w *world) announceServers(all bool) {
	w.T.Helper()
	running := w.is.Servers(all)
	w.SetAPIServers(reality.APIServerPort, running...)
	if field.PolicyNow() == nil {
		return
	}
	w.Eventually(func() []string {
		var shown []string
		for _, server := range field.PolicyNow().Status.APIServers {
			if server.MissingSince == nil {
				shown = append(shown, server.Address)
			}
		}
		return shown
	}, field.Patience, field.Tick).Should(ConsistOf(textsOf(running)))
}

// waitUntilEffective waits until all conditions are True. At this moment required flows
// work, and restricted flows are dropped as soon as the Felix of each node has followed.
func (w *world) waitUntilEffective(tries []reality.Connection) {
	w.T.Helper()
	w.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	what := func() string {
		return fmt.Sprintf("%+v\n%s", *w.is, field.ConditionMessage(v1alpha1.ConditionVerified))
	}
	required := slices.DeleteFunc(slices.Clone(tries), func(c reality.Connection) bool { return !c.Allowed })
	w.Eventually(func() []string { return w.wrongConnections(required, false) }, watchLatency, field.Tick).Should(BeEmpty(), what)
	w.Eventually(func() []string { return w.wrongConnections(tries, false) }, field.Patience, field.Tick).Should(BeEmpty(), what)
	w.Expect(field.ConditionOf(v1alpha1.ConditionReady)()).To(Equal("True/AsDeclared"))
}

// startMachines starts a machine with a Felix for each node, gives all addresses to the
// machines, and makes control-plane machines answer at the ports of control-plane
// components.
func (w *world) startMachines() {
	w.T.Helper()
	workers := slices.DeleteFunc(slices.Clone(w.is.Machines), func(m reality.Machine) bool { return m.ControlPlane })
	var err error
	w.Cluster, err = field.Installed.StartCluster(w.T.Context(), calico.ClusterOptions{
		ControlPlane: len(w.is.Machines) - len(workers), Workers: len(workers), ExistingNodes: true, Felix: calico.FelixOptions{IPv6: true},
	})
	w.Expect(err).NotTo(HaveOccurred())
	w.T.Cleanup(func() { w.Expect(w.Cluster.Stop()).To(Succeed()) })
	outside := []netip.Addr{reality.Stranger, reality.Admin, w.is.Pod()}
	for _, m := range w.is.Machines {
		machine := w.Cluster.Machine(m.Name)
		commands := []string{"address add " + m.Registered.String() + "/16 dev eth0"}
		if m.Advertised != m.Registered {
			commands = append(commands, "address add "+m.Advertised.String()+"/24 dev eth1")
		} else {
			commands = append(commands, "route add 10.30.0.0/24 dev eth1")
		}
		if w.is.NAT {
			commands = append(commands, "address add "+reality.NATAddress.String()+"/32 dev lo")
		}
		if w.is.Virtual.IsValid() {
			commands = append(commands, "address add "+w.is.Virtual.String()+"/32 dev lo") // every holder of the virtual address is tried
		}
		for _, address := range outside {
			commands = append(commands, "route replace "+address.String()+"/32 dev eth0")
		}
		w.runCommands(machine, commands)
		w.at[m.Registered], w.at[m.Advertised] = machine, machine
		for _, port := range []uint16{reality.APIServerPort, reality.EtcdPort, reality.PeersPort, m.Kubelet} {
			_, err := machine.Listen(network.TCP, port)
			w.Expect(err).NotTo(HaveOccurred())
		}
	}
	outsider := w.Cluster.Machine(calico.Outsider)
	commands := []string{"address add 10.4.255.1/16 dev eth0", "address add 10.30.0.200/24 dev eth1"}
	for _, address := range append(outside, w.is.Balancer) {
		if address.IsValid() {
			commands = append(commands, "address add "+address.String()+"/32 dev eth0")
			w.at[address] = outsider
		}
	}
	w.runCommands(outsider, commands)
}

// runCommands runs commands of ip on a machine. The machine also accepts packets from any
// network, because with several networks answers may take another path.
func (w *world) runCommands(m *network.Machine, commands []string) {
	w.T.Helper()
	_, err := m.Output(w.T.Context(), "sh", "-c", "for f in all eth0 eth1; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
	w.Expect(err).NotTo(HaveOccurred())
	_, err = m.Input(w.T.Context(), strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
	w.Expect(err).NotTo(HaveOccurred())
}

// possibleConnections are the connections to try. Only the machine itself can send from an
// address shared with other machines.
func (w *world) possibleConnections() []reality.Connection {
	return slices.DeleteFunc(w.is.Connections(), func(c reality.Connection) bool { return c.From == reality.NATAddress && c.From != c.To })
}

// wrongConnections tries all connections at once, and returns the connections with a wrong
// verdict. Either all connections must be open, or only the allowed connections.
func (w *world) wrongConnections(tries []reality.Connection, allOpen bool) []string {
	w.T.Helper()
	got, errs := make([]network.Verdict, len(tries)), make([]error, len(tries))
	var trying sync.WaitGroup
	for i, c := range tries {
		trying.Go(func() {
			machine := w.at[c.From]
			if c.From == c.To {
				machine = w.Cluster.Machine(c.Node)
			}
			got[i], errs[i] = machine.Dial(network.TCP, netip.AddrPortFrom(c.To, c.Port), network.From(c.From))
		})
	}
	trying.Wait()
	w.Expect(errors.Join(errs...)).NotTo(HaveOccurred())
	var wrong []string
	for i, c := range tries {
		if (got[i] == network.Open) != (allOpen || c.Allowed) || got[i] == network.Refused {
			wrong = append(wrong, fmt.Sprintf("%s, from %s to %s port %d of %s: %s", c.Why, c.From, c.To, c.Port, c.Node, got[i]))
		}
	}
	return wrong
}
