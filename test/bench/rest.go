// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// restTime is how long the operator is watched without any change, and again with
	// heartbeats only.
	restTime = 10 * time.Second
	// heartbeat is the time between two heartbeats of nodes: each of 5,000 nodes sends one
	// heartbeat in 5 minutes (kubelet's nodeStatusReportFrequency).
	heartbeat = 5 * time.Minute / 5000
)

// measureRest measures the operator while there is nothing to do.
func (b *bench) measureRest(ctx context.Context) error {
	r := &b.report.rest
	before, err := b.operator.readMetrics(ctx) // the access reviews of this request end before the mark
	if err != nil {
		return err
	}
	mark, err := b.cluster.Audit().Mark()
	if err != nil {
		return err
	}
	if _, err := b.operator.cpuSinceLastCall(); err != nil {
		return err
	}
	if err := doEvery(ctx, restTime, func(int) error { return nil }); err != nil {
		return err
	}
	if r.cpu, err = b.operator.cpuSinceLastCall(); err != nil {
		return err
	}
	if err := doEvery(ctx, heartbeat, func(i int) error { return b.sendHeartbeat(ctx, i) }); err != nil {
		return err
	}
	if r.heartbeatCPU, err = b.operator.cpuSinceLastCall(); err != nil {
		return err
	}
	if r.calls, err = b.countRequests(mark, operatorUser, func(e testbed.AuditEvent) bool { return e.Verb != "watch" }); err != nil {
		return err
	}
	after, err := b.operator.readMetrics(ctx)
	if err != nil {
		return err
	}
	const reconciles = "controller_runtime_reconcile_total"
	r.reconciles = int(after[reconciles] - before[reconciles])
	m := &b.report.memory
	m.heap, m.nextGC = after["go_memstats_heap_inuse_bytes"], after["go_memstats_next_gc_bytes"]
	if m.anonymous, err = b.operator.memoryOf("RssAnon"); err != nil {
		return err
	}
	m.steady, err = b.operator.memoryOf("VmRSS")
	return err
}

func (b *bench) sendHeartbeat(ctx context.Context, i int) error {
	b.report.rest.heartbeats++
	node := kinds[0].objectNamed(kinds[0].target(operatorUser, i%b.nodes))
	body := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`,
		time.Now().UTC().Format(time.RFC3339))
	return b.admin.Status().Patch(ctx, node, client.RawPatch(types.StrategicMergePatchType, []byte(body)))
}

// doEvery calls do at every tick of the restTime.
func doEvery(ctx context.Context, interval time.Duration, do func(i int) error) error {
	over, ticks := time.NewTimer(restTime), time.NewTicker(interval)
	defer over.Stop()
	defer ticks.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticks.C:
			if err := do(i); err != nil {
				return err
			}
		case <-over.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
