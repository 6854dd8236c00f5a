// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"github.com/projectcalico/api/pkg/lib/numorstring"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// BenchmarkLockout measures the checks of a reconciliation that starts to protect seven
// nodes in a cluster of 5,000 nodes with 500 foreign policies: all writes of the whole
// rollout, the next writes, and the verdicts on flows that are not required. Policies for
// workloads do not select hosts. Policies for hosts are all evaluated before the operator's
// policies. Where workers are already cut off, every cut is also judged in the state before
// all writes.
func BenchmarkLockout(b *testing.B) {
	const workloads, onHosts = "app == 'app-%d'", "has(cpnp.dev/policy) && tenant != 't-%d'"
	for _, bench := range []struct {
		name, selector string
		already        int // number of workers
	}{{"workloads", workloads, 0}, {"hosts", onHosts, 0}, {"already", onHosts, 100}} {
		b.Run(bench.name, func(b *testing.B) {
			hosts := plannedHosts(b)
			there := foreignPolicies(500, bench.selector)
			var writes, next []judge.Write
			for _, object := range hosts.WholeObjects {
				write := judge.Write{Object: object}
				writes = append(writes, write)
				if backend.TraitsOf(object).Stage < backend.StageEndpoints {
					next = append(next, write)
				}
			}
			var nodes []dataplane.Node
			for _, node := range makeNodes(manyNodes) {
				nodes = append(nodes, dataplane.Node{Name: node.Name, Addresses: state.NodeAddresses(node)})
			}
			for _, node := range nodes[manyNodes-bench.already:] {
				there.Felix = []v3.FelixConfiguration{noneOut()}
				there.Endpoints = append(there.Endpoints, cutOff(node))
			}
			if report := judge.CheckLockout(hosts.RequiredFlows, nodes, there, writes); len(report.Cuts) > 0 || len(report.AlreadyCut) > 0 != (bench.already > 0) {
				b.Fatalf("%d are cut, %d already", len(report.Cuts), len(report.AlreadyCut))
			}
			runtime.GC()
			b.ReportAllocs()
			peak := watchHeap()
			for b.Loop() {
				judge.CheckLockout(hosts.RequiredFlows, nodes, there, writes)
				judge.CheckLockout(hosts.RequiredFlows, nodes, there, next)
				judge.ForeignPolicyWarnings(hosts, nodes, there, writes)
			}
			b.ReportMetric(peak(), "peak-MiB")
			b.ReportMetric(float64(len(writes)+len(next)), "writes")
			b.ReportMetric(float64(len(hosts.RequiredFlows.Flows)), "flows")
			b.ReportMetric(float64(len(hosts.RequiredFlows.Optional)), "optional")
		})
	}
}

// watchHeap measures how much the heap grows, including garbage that is not collected yet.
// The returned function stops the measurement, and returns the peak in MiB.
func watchHeap() (peak func() float64) {
	heap := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	end, most := make(chan struct{}), make(chan uint64)
	go func() {
		beat := time.NewTicker(time.Millisecond)
		defer beat.Stop()
		before, top := heap(), uint64(0)
		for {
			select {
			case <-end:
				most <- top
				return
			case <-beat.C:
				if now := heap(); now > before && now-before > top {
					top = now - before
				}
			}
		}
	}()
	return func() float64 {
		close(end)
		return float64(<-most) / (1 << 20)
	}
}

// noneOut has no outbound failsafe ports.
func noneOut() v3.FelixConfiguration {
	return v3.FelixConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       v3.FelixConfigurationSpec{FailsafeOutboundHostPorts: &[]v3.ProtoPort{}},
	}
}

// cutOff returns an endpoint without policies, so all packets from the node are dropped.
func cutOff(node dataplane.Node) v3.HostEndpoint {
	return v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "theirs-" + node.Name},
		Spec:       v3.HostEndpointSpec{Node: node.Name, InterfaceName: "*"},
	}
}

// foreignPolicies returns foreign policies. Only unneeded flows are denied.
func foreignPolicies(count int, selector string) calico.Live {
	there := calico.Live{
		Tiers: []v3.Tier{{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}},
		Pools: []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/16"}}},
	}
	for i := range count {
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i / 256), byte(i)}), 32).String()
		there.Policies = append(there.Policies, v3.GlobalNetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("platform.p-%d", i)},
			Spec: v3.GlobalNetworkPolicySpec{
				Tier: "platform", Order: ptr.To(float64(i)), Selector: fmt.Sprintf(selector, i), Types: []v3.PolicyType{v3.PolicyTypeIngress},
				Ingress: []v3.Rule{
					{Action: v3.Deny, Source: v3.EntityRule{Nets: []string{net}}},
					{
						Action: v3.Deny, Protocol: ptr.To(numorstring.ProtocolFromString("TCP")),
						Source:      v3.EntityRule{Nets: []string{"192.168.0.0/16"}},
						Destination: v3.EntityRule{Ports: []numorstring.Port{numorstring.SinglePort(uint16(40000 + i))}},
					},
				},
			},
		})
	}
	return there
}
