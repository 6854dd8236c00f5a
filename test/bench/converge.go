// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// convergeLimit bounds the wait for the first convergence.
const convergeLimit = 10 * time.Minute

// rounds is how often the bare client and the operator take turns.
const rounds = 2

// convergence is one round.
type convergence struct {
	// raw is the bare client's time, operator the operator's: from the first
	// write, or from the creation of the policy, until watches show the last
	// object as declared. reported is until the policy's status says so too,
	// reverted from its deletion until it is gone.
	raw, operator, reported, reverted time.Duration
}

// converge lets the bare client and the operator do the same in turn, and leaves
// the cluster as the operator has made it.
func (b *bench) converge(ctx context.Context) error {
	for round := range rounds {
		c := &b.report.convergence[round]
		if err := b.convergeRaw(ctx, c); err != nil {
			return err
		}
		started := time.Now()
		var err error
		if c.operator, err = b.untilRight(ctx, kinds, func(ctx context.Context) error { return b.admin.Create(ctx, policy()) }); err != nil {
			return err
		}
		if err := b.ready(ctx); err != nil {
			return err
		}
		c.reported = time.Since(started)
		if round == rounds-1 {
			return b.operator.quiet(ctx)
		}
		if err := b.revert(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// convergeRaw writes to every Node and Service what the policy will declare, as
// fast as a client can that knows it beforehand, and takes it back. Like the
// operator it writes two objects for a Node, its record and then the Node, and a
// value and an annotation of a Service.
func (b *bench) convergeRaw(ctx context.Context, c *convergence) (err error) {
	const there = `{"metadata":{"annotations":{"raw":"{\"field\":{\"policy\":\"bench\",\"applied\":\"\",\"original\":null}}"}},"spec":%s}`
	const back = `{"metadata":{"annotations":{"raw":null}},"spec":%s}`
	taints := fmt.Sprintf(`{"spec":{"taints":[{"key":%q,"effect":%q}]}}`, declaredTaint.Key, declaredTaint.Effect)
	c.raw, err = b.untilRight(ctx, kinds[:2], func(ctx context.Context) error {
		return b.patchAll(ctx, b.createRecord, taints, fmt.Sprintf(there, `{"internalTrafficPolicy":"Local"}`))
	})
	if err != nil {
		return err
	}
	services := fmt.Sprintf(back, `{"internalTrafficPolicy":"Cluster"}`)
	if err := b.patchAll(ctx, b.deleteRecord, `{"spec":{"taints":null}}`, services); err != nil {
		return err
	}
	return b.operator.quiet(ctx)
}

// patchAll patches every Node, after its record, and every Service.
func (b *bench) patchAll(ctx context.Context, record func(ctx context.Context, node string) error, node, service string) error {
	return parallel(ctx, b.nodes+b.services, func(i int) error {
		k, patch := kinds[0], node
		if i >= b.nodes {
			k, patch, i = kinds[1], service, i-b.nodes
		} else if err := record(ctx, k.target(operatorUser, i).Name); err != nil {
			return err
		}
		return b.admin.Patch(ctx, k.named(k.target(operatorUser, i)), client.RawPatch(types.MergePatchType, []byte(patch)))
	})
}

// rawRecord is as large as the operator's record, and of no node: the operator
// leaves it alone.
func rawRecord(node string) *v1alpha1.ControlPlaneNodeRecord {
	return &v1alpha1.ControlPlaneNodeRecord{
		ObjectMeta: metav1.ObjectMeta{Name: node},
		Spec: v1alpha1.ControlPlaneNodeRecordSpec{
			NodeUID: "00000000-0000-4000-8000-000000000000",
			Taints:  []v1alpha1.RecordedTaint{{Key: declaredTaint.Key, Effect: declaredTaint.Effect, Policy: "bench"}},
		},
	}
}

func (b *bench) createRecord(ctx context.Context, node string) error {
	return b.admin.Create(ctx, rawRecord(node))
}

func (b *bench) deleteRecord(ctx context.Context, node string) error {
	return b.admin.Delete(ctx, rawRecord(node))
}

// untilRight acts, and returns how long it took until watches have shown every
// object of the kinds as declared.
func (b *bench) untilRight(ctx context.Context, kinds []kind, act func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, convergeLimit)
	defer cancel()
	counts := map[string]int{"nodes": b.nodes, "services": b.services, "networkpolicies": targets}
	done := make(chan error, len(kinds))
	for _, k := range kinds {
		go func() { done <- b.allRight(ctx, k, counts[k.resource]) }()
	}
	started := time.Now()
	failures := []error{act(ctx)}
	for range kinds {
		failures = append(failures, <-done)
	}
	return time.Since(started), errors.Join(failures...)
}

// allRight returns when watches have shown that many objects as declared. The
// API server ends the watch of a reader that it finds too slow; then another
// begins with what there is.
func (b *bench) allRight(ctx context.Context, k kind, count int) error {
	right := sets.New[types.NamespacedName]()
	for ctx.Err() == nil {
		open, err := b.admin.Watch(ctx, k.list())
		if err != nil {
			return err
		}
		for event := range open.ResultChan() {
			object, ok := event.Object.(client.Object)
			if ok && k.right(object) && right.Insert(client.ObjectKeyFromObject(object)).Len() == count {
				open.Stop()
				return nil
			}
		}
	}
	return fmt.Errorf("%d of %d %s are as declared: %w", right.Len(), count, k.resource, context.Cause(ctx))
}

// revert deletes the policy and waits until the operator has let it go.
func (b *bench) revert(ctx context.Context, c *convergence) error {
	started := time.Now()
	if err := b.admin.Delete(ctx, policy()); err != nil {
		return err
	}
	gone := func(ctx context.Context) (bool, error) {
		err := b.admin.Get(ctx, client.ObjectKeyFromObject(policy()), policy())
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, convergeLimit, true, gone); err != nil {
		return fmt.Errorf("the policy is not let go: %w", err)
	}
	c.reverted = time.Since(started)
	return b.operator.quiet(ctx)
}

// ready returns when the policy's status says that all is as declared.
func (b *bench) ready(ctx context.Context) error {
	current := policy()
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := b.admin.Get(ctx, client.ObjectKeyFromObject(current), current)
		return meta.IsStatusConditionTrue(current.Status.Conditions, v1alpha1.ConditionReady), err
	})
	if err != nil {
		return fmt.Errorf("the status does not become Ready: %w; it is %+v", err, current.Status.Conditions)
	}
	return nil
}
