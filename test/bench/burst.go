// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// burstObjects is the largest number of objects that drift at once; a third are nodes, the
// others Services.
const burstObjects = 5000

// burst is the result of many drifts at once.
type burst struct {
	objects int
	// raw is the time in which the bare client makes every object drift and repairs the
	// object itself; operator the time in which the bare client makes every object drift
	// and the operator repairs the objects. Both last until watches have shown the last
	// repair.
	raw, operator time.Duration
	// repairs, status and events are the operator's requests meanwhile, and until the
	// operator is idle after took.
	repairs, status, events int
	took                    time.Duration
}

// measureBurst lets many objects drift at once, as fast as the API server takes the writes.
// While the bare client repairs, the policy is suspended.
func (b *bench) measureBurst(ctx context.Context) (err error) {
	r := &b.report.burst
	objects := min(burstObjects, b.nodes+b.services)
	nodes := min(b.nodes, objects/3)
	counts := []int{nodes, min(b.services, objects-nodes)}
	r.objects = counts[0] + counts[1]
	if err := b.suspendPolicy(ctx, true); err != nil {
		return err
	}
	if r.raw, err = b.driftMany(ctx, counts, true); err != nil {
		return err
	}
	if err := b.suspendPolicy(ctx, false); err != nil {
		return err
	}
	mark, err := b.cluster.Audit().Mark()
	if err != nil {
		return err
	}
	started := time.Now()
	if r.operator, err = b.driftMany(ctx, counts, false); err != nil {
		return err
	}
	if err := b.operator.waitUntilIdle(ctx); err != nil {
		return err
	}
	r.took = time.Since(started)
	return b.countBurst(mark, r)
}

// countBurst counts the operator's requests since the mark.
func (b *bench) countBurst(mark testbed.Mark, r *burst) (err error) {
	for _, c := range []struct {
		to     *int
		counts func(testbed.AuditEvent) bool
	}{
		{&r.repairs, func(e testbed.AuditEvent) bool {
			return e.Mutating() && (e.Resource == "nodes" || e.Resource == "services")
		}},
		{&r.status, func(e testbed.AuditEvent) bool { return e.Mutating() && e.Subresource == "status" }},
		{&r.events, func(e testbed.AuditEvent) bool { return e.Mutating() && e.Resource == "events" }},
	} {
		if *c.to, err = b.countRequests(mark, operatorUser, c.counts); err != nil {
			return err
		}
	}
	return nil
}

// suspendPolicy suspends or resumes the policy, and waits until the operator is idle.
func (b *bench) suspendPolicy(ctx context.Context, suspend bool) error {
	body := fmt.Sprintf(`{"spec":{"suspend":%t}}`, suspend)
	if err := b.admin.Patch(ctx, benchPolicy(), client.RawPatch(types.MergePatchType, []byte(body))); err != nil {
		return err
	}
	return b.operator.waitUntilIdle(ctx)
}

// driftMany makes so many nodes and Services drift, and returns the time until watches have
// shown that each is repaired: by the bare client right after the drift, or by the operator.
func (b *bench) driftMany(ctx context.Context, counts []int, repair bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, convergeLimit)
	defer cancel()
	done := make(chan error, len(counts))
	for i, count := range counts {
		list := kinds[i].list()
		if err := b.admin.List(ctx, list); err != nil {
			return 0, err
		}
		go func() { done <- b.waitForRepairs(ctx, kinds[i], list.GetResourceVersion(), count) }()
	}
	started := time.Now()
	failures := []error{runParallel(ctx, counts[0]+counts[1], func(i int) error {
		if i < counts[0] {
			return b.driftAndRepair(ctx, kinds[0], i, repair)
		}
		return b.driftAndRepair(ctx, kinds[1], i-counts[0], repair)
	})}
	for range counts {
		failures = append(failures, <-done)
	}
	return time.Since(started), errors.Join(failures...)
}

// driftAndRepair makes one object drift, and with repair restores the object as the bare
// client, with a merge patch: after an apply by another manager, the operator would leave
// the field alone.
func (b *bench) driftAndRepair(ctx context.Context, k kind, i int, repair bool) error {
	patch := func(body, manager string) error {
		object := k.objectNamed(k.target(operatorUser, i))
		return b.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner(manager))
	}
	if err := patch(k.drift, "burst"); err != nil || !repair {
		return err
	}
	return patch(k.declared, rawManager)
}

// waitForRepairs waits until watches have shown so many objects wrong and then right again,
// since a resourceVersion. The API server ends the watch of a slow reader; the next watch
// goes on where the last has ended.
func (b *bench) waitForRepairs(ctx context.Context, k kind, since string, count int) error {
	wrong, repaired := sets.New[types.NamespacedName](), sets.New[types.NamespacedName]()
	for ctx.Err() == nil {
		open, err := b.admin.Watch(ctx, k.list(), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: since}})
		if err != nil {
			return err
		}
		for event := range open.ResultChan() {
			object, ok := event.Object.(client.Object)
			if !ok {
				return fmt.Errorf("watching %s: %v", k.resource, event.Object)
			}
			since = object.GetResourceVersion()
			key := client.ObjectKeyFromObject(object)
			switch {
			case !k.right(object):
				wrong.Insert(key)
			case wrong.Has(key) && repaired.Insert(key).Len() == count:
				open.Stop()
				return nil
			}
		}
	}
	return fmt.Errorf("%d of %d %s are repaired: %w", repaired.Len(), count, k.resource, context.Cause(ctx))
}
