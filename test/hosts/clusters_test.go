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

// A sample of the random clusters that are judged in the package controllers, with
// packets: whenever all conditions are True, whoever must connect does, and whoever is
// not let in is dropped; also while API servers come and go.
func TestWhatIsVerifiedHoldsInRandomClusters(t *testing.T) {
	network.Need(t, calico.Available(t.Context()))
	const perVerified = 20
	seed := *clusterSeed
	for tried := 0; tried < *clusters && !t.Failed() && seed < *clusterSeed+uint64(perVerified**clusters); seed++ {
		t.Run(fmt.Sprintf("cluster-seed=%d", seed), func(t *testing.T) {
			if newWorld(t, seed).holds() {
				tried++
			}
		})
	}
}

// world is a random cluster, with machines for it once the policy is verified.
type world struct {
	*field.Field
	is *reality.Reality
	at map[netip.Addr]*network.Machine // who has an address that only one has
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{Field: &field.Field{WithT: NewWithT(t), T: t}, is: reality.Make(seed), at: map[netip.Addr]*network.Machine{}}
	objects := w.is.Objects()
	for _, pool := range w.is.Pools() {
		objects = append(objects, &pool)
	}
	// Members that are no machines, and not selected: etcd can lose several others.
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

// holds says whether the policy was verified, and so tried.
func (w *world) holds() bool {
	policy := w.is.Policy()
	policy.ObjectMeta = w.NewPolicy().ObjectMeta
	policy.Spec.Mode = v1alpha1.ModeAudit
	policy.Spec.Rollout = &v1alpha1.Rollout{SoakSeconds: ptr.To[int32](0), MaxUnavailable: 4}
	w.serve(true)
	w.StartOperatorWith(field.OperatorConfig, field.SteadySoon)
	w.CreatePolicy(policy)
	w.Eventually(field.ConditionOf(v1alpha1.ConditionVerified), field.Patience, field.Tick).ShouldNot(BeElementOf("none", "Unknown/Pending"))
	w.Eventually(func() int { return len(field.PolicyNow().Status.APIServers) }, field.Patience, field.Tick).Should(Equal(len(w.is.Servers(true))))
	w.serve(false)
	if verified := field.ConditionOf(v1alpha1.ConditionVerified)(); !strings.HasPrefix(verified, "True/") {
		w.T.Logf("Verified is %s", verified)
		return false
	}
	w.build()
	tries := w.tries()
	w.Eventually(func() []string { return w.wrong(tries, true) }, field.Patience, field.Tick).Should(BeEmpty(), "before the policy")
	w.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Mode = v1alpha1.ModeEnforce })
	w.settles(tries)
	for i := range w.is.Machines { // those that were down are back, and others are down
		w.is.Machines[i].Running = w.is.Machines[i].ControlPlane && (i == 0 || !w.is.Machines[i].Running)
	}
	w.serve(false)
	w.settles(tries)
	return true
}

// serve shows the API servers that run, or all, and waits until the operator knows.
func (w *world) serve(all bool) {
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
	}, field.Patience, field.Tick).Should(ConsistOf(texts(running)))
}

// settles waits until all conditions are True. What is required works then; and what is
// restricted is dropped, as soon as the Felix of each node has come that far.
func (w *world) settles(tries []reality.Connection) {
	w.T.Helper()
	w.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	what := func() string {
		return fmt.Sprintf("%+v\n%s", *w.is, field.ConditionMessage(v1alpha1.ConditionVerified))
	}
	required := slices.DeleteFunc(slices.Clone(tries), func(c reality.Connection) bool { return !c.Allowed })
	w.Eventually(func() []string { return w.wrong(required, false) }, watchLatency, field.Tick).Should(BeEmpty(), what)
	w.Eventually(func() []string { return w.wrong(tries, false) }, field.Patience, field.Tick).Should(BeEmpty(), what)
	w.Expect(field.ConditionOf(v1alpha1.ConditionReady)()).To(Equal("True/AsDeclared"))
}

// build starts a machine with a Felix for each node, gives all their addresses, and has
// them answer where a node of the control plane does.
func (w *world) build() {
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
			commands = append(commands, "address add "+w.is.Virtual.String()+"/32 dev lo") // each is tried as its holder
		}
		for _, address := range outside {
			commands = append(commands, "route replace "+address.String()+"/32 dev eth0")
		}
		w.configure(machine, commands)
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
	w.configure(outsider, commands)
}

// configure runs commands of ip on a machine, which then takes packets from whichever
// network they come: with several networks, answers may go another way.
func (w *world) configure(m *network.Machine, commands []string) {
	w.T.Helper()
	_, err := m.Output(w.T.Context(), "sh", "-c", "for f in all eth0 eth1; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done")
	w.Expect(err).NotTo(HaveOccurred())
	_, err = m.Input(w.T.Context(), strings.Join(commands, "\n")+"\n", "ip", "-batch", "-")
	w.Expect(err).NotTo(HaveOccurred())
}

// tries are the connections that can be tried: nobody but the machine itself can send
// from an address that it has too.
func (w *world) tries() []reality.Connection {
	return slices.DeleteFunc(w.is.Connections(), func(c reality.Connection) bool { return c.From == reality.NATAddress && c.From != c.To })
}

// wrong tries all connections at once, and returns those of which not becomes what must:
// that all are open, or only those that are allowed.
func (w *world) wrong(tries []reality.Connection, allOpen bool) []string {
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
