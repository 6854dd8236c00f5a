// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	served "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

var (
	firstSeed  = flag.Uint64("seed", 1, "seed of the first random policy set")
	policySets = flag.Int("policy-sets", 8, "how many random policy sets to try, for each way in which Felix writes its rules")
)

const flowsEach = 200

// The evaluator's verdict on random flows under random policies matches the fate of real
// packets.
func TestJudgementIsWhatPacketsMeet(t *testing.T) {
	for i, backend := range []calico.Backend{calico.IPTables, calico.NFTables} {
		t.Run(string(backend), func(t *testing.T) {
			c := startComparison(t, backend)
			for n := range *policySets {
				c.comparePolicySet(*firstSeed + uint64(2*n+i))
			}
			t.Logf("%d flows of %d policy sets: %d let through, %d dropped, %d not judged", c.counts[dataplane.Allowed]+
				c.counts[dataplane.Denied]+c.counts[dataplane.Unknown], *policySets,
				c.counts[dataplane.Allowed], c.counts[dataplane.Denied], c.counts[dataplane.Unknown])
			c.Expect(c.counts[dataplane.Allowed]).To(BeNumerically(">", 50**policySets), "too few for a comparison")
			c.Expect(c.counts[dataplane.Denied]).To(BeNumerically(">", 20**policySets), "too few for a comparison")
			c.Expect(c.counts[dataplane.Unknown]).To(BeNumerically("<", 40**policySets), "too many for a comparison")
		})
	}
}

// comparison is a cluster whose machines listen on all ports of the test.
type comparison struct {
	*field.Field
	backend  calico.Backend
	machines map[string]*network.Machine
	counts   map[dataplane.Decision]int
	sentinel uint16
}

func startComparison(t *testing.T, backend calico.Backend) *comparison {
	t.Helper()
	network.Need(t, calico.Available(t.Context()))
	cluster, err := field.Installed.StartCluster(t.Context(), calico.ClusterOptions{
		ControlPlane: 2, Workers: 1, Felix: calico.FelixOptions{Backend: backend, IPv6: true},
	})
	c := &comparison{
		Field: &field.Field{WithT: NewWithT(t), T: t, Cluster: cluster}, backend: backend,
		machines: map[string]*network.Machine{}, counts: map[dataplane.Decision]int{}, sentinel: 6000,
	}
	c.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { c.Expect(cluster.Stop()).To(Succeed()) })
	for _, name := range someNames {
		c.machines[name] = cluster.Machine(name)
	}
	for _, name := range nodeNames {
		for _, port := range ports {
			_, err := c.machines[name].Listen(network.TCP, port)
			c.Expect(err).NotTo(HaveOccurred())
		}
		for _, port := range udpPorts {
			_, err := c.machines[name].Listen(network.UDP, port)
			c.Expect(err).NotTo(HaveOccurred())
		}
	}
	c.setNeighbors()
	return c
}

// setNeighbors tells every machine the hardware addresses of the other machines. Otherwise
// policies that drop neighbor discovery would cut all of IPv6.
func (c *comparison) setNeighbors() {
	for _, name := range someNames {
		for _, device := range []string{"eth0", "eth1"} {
			mac, err := c.machines[name].Output(c.T.Context(), "sh", "-c", "ip -oneline link show "+device+" | sed 's/.*link.ether \\([^ ]*\\).*/\\1/' | tr -d '\\n'")
			c.Expect(err).NotTo(HaveOccurred())
			addresses := c.machines[name].Cluster
			if device == "eth1" {
				addresses = c.machines[name].Dedicated
			}
			for _, other := range someNames {
				if other == name {
					continue
				}
				_, err := c.machines[other].Output(c.T.Context(), "ip", "neighbour", "replace", addresses.IPv6.String(),
					"lladdr", mac, "dev", device, "nud", "permanent")
				c.Expect(err).NotTo(HaveOccurred())
			}
		}
	}
}

// comparePolicySet writes one random policy set, and compares verdicts with packets.
func (c *comparison) comparePolicySet(seed uint64) {
	r := &random{Rand: rand.New(rand.NewPCG(seed, 0)), backend: c.backend, machines: c.machines}
	begin := time.Now()
	written := c.writeObjects(r)
	defer c.removeObjects(written)
	there := c.readObjects()
	world := dataplane.NewWorld(there, c.dataplaneNodes())
	c.awaitSentinel(world, seed)
	var trials []trial
	for range flowsEach {
		trials = append(trials, r.randomTrial())
	}
	var wrong []string
	deadline := time.Now().Add(5 * time.Second)
	for again := trials; ; {
		again, wrong = c.findDifferences(world, again)
		if len(again) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, t := range trials {
		c.counts[world.VerdictOn(t.flow).Decision]++
	}
	c.T.Logf("seed %d: %s", seed, time.Since(begin).Round(time.Millisecond))
	if len(wrong) > 0 {
		text, err := yaml.Marshal(there)
		c.Expect(err).NotTo(HaveOccurred())
		c.T.Errorf("seed %d: %d of %d flows are not as judged:\n%v\n%s", seed, len(wrong), len(trials), wrong[:min(5, len(wrong))], text)
	}
}

// findDifferences tries all flows at once, and returns the flows with another outcome than
// judged.
func (c *comparison) findDifferences(world *dataplane.World, trials []trial) (wrong []trial, texts []string) {
	got := make([]network.Verdict, len(trials))
	errs := make([]error, len(trials))
	var trying sync.WaitGroup
	for i, t := range trials {
		trying.Go(func() { got[i], errs[i] = t.sendPackets() })
	}
	trying.Wait()
	for i, t := range trials {
		verdict := world.VerdictOn(t.flow)
		want := map[dataplane.Decision]network.Verdict{dataplane.Allowed: network.Open, dataplane.Denied: network.Dropped}[verdict.Decision]
		if want != "" && (errs[i] != nil || got[i] != want) {
			wrong = append(wrong, t)
			texts = append(texts, fmt.Sprintf("%s (%s): %s %v, not %s\n", t.flow, t.from.Name, got[i], errs[i], verdict))
		}
	}
	return wrong, texts
}

func (t trial) sendPackets() (network.Verdict, error) {
	protocol := network.ICMP
	switch t.flow.Protocol {
	case dataplane.TCP:
		protocol = network.TCP
	case dataplane.UDP:
		protocol = network.UDP
	}
	return t.from.Dial(protocol, netip.AddrPortFrom(t.flow.To, t.flow.Port), network.From(t.flow.From))
}

// writeObjects writes a policy set, and a sentinel after all objects. Objects that the API
// refuses are left out.
func (c *comparison) writeObjects(r *random) []client.Object {
	var written []client.Object
	if r.happensIn(35) {
		configuration, restarts := r.randomFailsafes(), c.Cluster.Felix("cp-1").Restarts()
		c.Expect(field.Admin.Create(c.T.Context(), configuration)).To(Succeed())
		written = append(written, configuration)
		c.Eventually(func() int { return c.Cluster.Felix("cp-1").Restarts() }, field.Patience, field.Tick).Should(BeNumerically(">", restarts))
		c.Eventually(func() error { return c.Cluster.Felix("cp-1").Ready(c.T.Context()) }, field.Patience, field.Tick).Should(Succeed())
	}
	c.sentinel++
	for _, object := range append(r.policySetObjects(), c.sentinelPolicy()...) {
		err := field.Admin.Create(c.T.Context(), object)
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) {
			c.T.Logf("refused: %v", err)
			continue
		}
		c.Expect(err).NotTo(HaveOccurred())
		written = append(written, object)
	}
	return written
}

// removeObjects removes the policy set, and waits until Felix has removed the rules too,
// before the next policy set. A change of the configuration restarts Felix, so restarts are
// counted.
func (c *comparison) removeObjects(written []client.Object) {
	restarts := c.Cluster.Felix("cp-1").Restarts()
	configured := false
	for _, object := range slices.Backward(written) {
		_, is := object.(*v3.FelixConfiguration)
		configured = configured || is
		c.Expect(client.IgnoreNotFound(field.Admin.Delete(context.Background(), object))).To(Succeed())
	}
	if configured {
		c.Eventually(func() int { return c.Cluster.Felix("cp-1").Restarts() }, field.Patience, field.Tick).Should(BeNumerically(">", restarts))
		c.Eventually(func() error { return c.Cluster.Felix("cp-1").Ready(context.Background()) }, field.Patience, field.Tick).Should(Succeed())
	}
}

// sentinelPolicy drops one port before all other rules, another port each time.
func (c *comparison) sentinelPolicy() []client.Object {
	return []client.Object{
		&v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "sentinel"}, Spec: v3.TierSpec{Order: ptr.To(1.0), DefaultAction: ptr.To(v3.Pass)}},
		&v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "sentinel.drop"}, Spec: v3.GlobalNetworkPolicySpec{
			Tier: "sentinel", Order: ptr.To(1.0), Selector: "has(random)", Types: []v3.PolicyType{"Ingress"}, PreDNAT: true, ApplyOnForward: true,
			Ingress: []v3.Rule{{
				Action: v3.Deny, Protocol: ptr.To(numorstring.ProtocolFromString("TCP")),
				Destination: v3.EntityRule{Ports: []numorstring.Port{numorstring.SinglePort(c.sentinel)}},
			}},
		}},
	}
}

// awaitSentinel waits until the sentinel's port is dropped wherever the sentinel applies.
// No server listens at this port: without the sentinel, or with a policy that lets packets
// through, connections are refused, unless another policy drops all packets.
func (c *comparison) awaitSentinel(world *dataplane.World, seed uint64) {
	outsider := c.machines[calico.Outsider]
	var trials []trial
	for _, name := range nodeNames {
		for iface, pair := range map[string][2]network.Addresses{
			"eth0": {outsider.Cluster, c.machines[name].Cluster}, "eth1": {outsider.Dedicated, c.machines[name].Dedicated},
		} {
			for _, addresses := range [][2]netip.Addr{{pair[0].IPv4, pair[1].IPv4}, {pair[0].IPv6, pair[1].IPv6}} {
				flow := dataplane.Flow{From: addresses[0], To: addresses[1], Interface: iface, LeavesBy: iface, Protocol: dataplane.TCP, Port: c.sentinel}
				if world.VerdictOn(flow).Reason.Policy == "sentinel.drop" {
					trials = append(trials, trial{outsider, flow})
				}
			}
		}
	}
	c.Expect(trials).NotTo(BeEmpty())
	c.Eventually(func() []string {
		_, wrong := c.findDifferences(world, trials)
		return wrong
	}, field.Patience, field.Tick).Should(BeEmpty(), "seed %d", seed)
}

// readObjects returns the policy set as Calico's API serves these objects.
func (c *comparison) readObjects() served.Live {
	var tiers v3.TierList
	var policies v3.GlobalNetworkPolicyList
	var sets v3.GlobalNetworkSetList
	var endpoints v3.HostEndpointList
	var felix v3.FelixConfigurationList
	for _, list := range []client.ObjectList{&tiers, &policies, &sets, &endpoints, &felix} {
		c.Expect(field.Admin.List(c.T.Context(), list)).To(Succeed())
	}
	return served.Live{Mode: served.Aggregated, Tiers: tiers.Items, Policies: policies.Items, Sets: sets.Items, Endpoints: endpoints.Items, Felix: felix.Items}
}

func (c *comparison) dataplaneNodes() []dataplane.Node {
	var out []dataplane.Node
	for _, name := range nodeNames {
		m := c.machines[name]
		out = append(out, dataplane.Node{
			Name: name, Addresses: []netip.Addr{m.Cluster.IPv4, m.Cluster.IPv6},
			Interfaces: map[string][]netip.Addr{
				"eth0": {m.Cluster.IPv4, m.Cluster.IPv6}, "eth1": {m.Dedicated.IPv4, m.Dedicated.IPv6},
			},
		})
	}
	slices.SortFunc(out, func(a, b dataplane.Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
