// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// block is the number of drifts of one repairer before the other repairer's turn.
	block = 25
	// repairLimit is the time limit of a repair.
	repairLimit = 30 * time.Second
)

// latencies of one repairer's repairs.
type latencies struct {
	// repaired lasts from the foreign write until a watch shows the object as declared
	// again. wrong is the part of this time in which the watch shows the object as drifted.
	repaired, wrong []time.Duration
	cpu             time.Duration
	// answered is how long the API server took for each write of the repairer.
	answered []time.Duration
}

// measured is the result for one kind.
type measured struct {
	operator, null latencies
	// the operator's writes to objects of the kind, status writes and reads.
	writes, status, reads int
	took                  time.Duration
}

// measureRepairs measures repairs of every kind, with both repairers in turn.
func (b *bench) measureRepairs(ctx context.Context) error {
	if err := b.equipNull(ctx); err != nil {
		return err
	}
	null, err := b.startNull(ctx)
	if err != nil {
		return err
	}
	defer null.stopProgram()
	for i, k := range kinds {
		if err := b.operator.waitUntilIdle(ctx); err != nil {
			return err
		}
		showProgress("… " + k.name)
		if err := b.repairKind(ctx, k, &b.report.repairs[i], null); err != nil {
			return err
		}
	}
	b.report.memory.null, err = null.memoryOf("VmRSS")
	return err
}

// equipNull creates the same NetworkPolicies for the null repairer, and sets its other
// objects to the same state.
func (b *bench) equipNull(ctx context.Context) error {
	for i := range targets {
		for _, k := range kinds {
			original, twin := k.objectNamed(k.target(operatorUser, i)), k.objectNamed(k.target(nullUser, i))
			if err := b.admin.Get(ctx, client.ObjectKeyFromObject(original), original); err != nil {
				return err
			}
			var err error
			if rules, ok := original.(*networkingv1.NetworkPolicy); ok {
				meta := metav1.ObjectMeta{Namespace: twin.GetNamespace(), Name: twin.GetName(), Labels: ownerLabels(nullUser)}
				err = b.admin.Create(ctx, &networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: rules.Spec})
			} else {
				twinKey := client.ObjectKeyFromObject(twin)
				err = k.restore(ctx, b.admin, twinKey, k.repairRequest(twinKey, original))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) repairKind(ctx context.Context, k kind, m *measured, null *process) error {
	open, err := b.admin.Watch(ctx, k.list())
	if err != nil {
		return err
	}
	defer open.Stop()
	mark, err := b.cluster.Audit().Mark()
	if err != nil {
		return err
	}
	started := time.Now()
	if _, err := b.operator.cpuSinceLastCall(); err != nil {
		return err
	}
	if _, err := null.cpuSinceLastCall(); err != nil {
		return err
	}
	for done := 0; done < b.drifts; done += block {
		for _, turn := range []struct {
			owner string
			to    *latencies
		}{{operatorUser, &m.operator}, {nullUser, &m.null}} {
			for i := done; i < min(done+block, b.drifts); i++ {
				if err := b.driftOnce(ctx, k, turn.owner, i, open, turn.to); err != nil {
					return err
				}
			}
		}
	}
	if err := b.operator.waitUntilIdle(ctx); err != nil { // the report belongs to the repairs
		return err
	}
	m.took = time.Since(started)
	if m.operator.cpu, err = b.operator.cpuSinceLastCall(); err != nil {
		return err
	}
	if m.null.cpu, err = null.cpuSinceLastCall(); err != nil {
		return err
	}
	return b.countCalls(mark, k, m)
}

// driftOnce makes one object drift, and waits for the repair. The writer has a new name at
// each return to an object: a writer that undoes the same repair again and again would be
// slowed down, and contests are not measured here.
func (b *bench) driftOnce(ctx context.Context, k kind, owner string, i int, open watch.Interface, to *latencies) error {
	key := k.target(owner, i%targets)
	object, writer := k.objectNamed(key), client.FieldOwner(fmt.Sprintf("writer-%d", i/targets))
	started := time.Now()
	if err := b.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(k.drift)), writer); err != nil {
		return err
	}
	deadline := time.NewTimer(repairLimit)
	defer deadline.Stop()
	var wrong time.Time
	for {
		select {
		case event, more := <-open.ResultChan():
			if !more {
				return fmt.Errorf("the watch of %s has ended", k.resource)
			}
			object, ok := event.Object.(client.Object)
			switch {
			case !ok || client.ObjectKeyFromObject(object) != key:
			case !k.right(object):
				wrong = time.Now()
			case !wrong.IsZero():
				to.repaired, to.wrong = append(to.repaired, time.Since(started)), append(to.wrong, time.Since(wrong))
				return nil
			}
		case <-deadline.C:
			return fmt.Errorf("%s %s was not repaired by %s within %s", k.resource, key, owner, repairLimit)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *bench) countCalls(mark testbed.Mark, k kind, m *measured) (err error) {
	written := func(e testbed.AuditEvent) bool { return e.Mutating() && e.Resource == k.resource }
	if m.writes, err = b.countRequests(mark, operatorUser, written); err != nil {
		return err
	}
	if m.operator.answered, err = b.answerTimes(mark, operatorUser, written); err != nil {
		return err
	}
	if m.null.answered, err = b.answerTimes(mark, nullUser, written); err != nil {
		return err
	}
	status := func(e testbed.AuditEvent) bool { return e.Mutating() && e.Subresource == "status" }
	if m.status, err = b.countRequests(mark, operatorUser, status); err != nil {
		return err
	}
	m.reads, err = b.countRequests(mark, operatorUser, func(e testbed.AuditEvent) bool { return e.Verb == "get" || e.Verb == "list" })
	return err
}

// answerTimes returns how long the API server took for the requests of a user since the mark.
func (b *bench) answerTimes(mark testbed.Mark, user string, counts func(testbed.AuditEvent) bool) ([]time.Duration, error) {
	events, err := b.cluster.Audit().Since(mark)
	var times []time.Duration
	for _, event := range events {
		if event.User == user && counts(event) {
			times = append(times, event.Took)
		}
	}
	return times, err
}

// startNull starts the null repairer, and returns once all its patches are prepared.
func (b *bench) startNull(ctx context.Context) (*process, error) {
	kubeconfig, err := b.cluster.AddUserKubeconfig(nullUser, testbed.Masters)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	null, err := b.startProgram(ctx, nullUser, self, nil, "-"+nullFlag+"="+kubeconfig)
	if err != nil {
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, repairLimit, true, func(context.Context) (bool, error) {
		log, err := os.ReadFile(filepath.Join(b.dir, nullUser+".log"))
		return bytes.Count(log, []byte(nullReady)) == len(kinds), err
	})
	if err != nil {
		null.stopProgram()
		return nil, fmt.Errorf("starting the null repairer: %w", err)
	}
	return null, nil
}

// quantileOf returns the latency which the given share of the repairs did not exceed.
func quantileOf(all []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}
