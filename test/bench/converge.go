// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// convergeLimit limits the wait for the first convergence.
const convergeLimit = 10 * time.Minute

// rounds is how often the bare client and the operator take turns.
const rounds = 2

// convergence is one round.
type convergence struct {
	// raw is the bare client's time, and operator the operator's time: from the first
	// write, or from the creation of the policy, until watches show the last object as
	// declared. reported lasts until the policy's status reports so too, reverted from the
	// deletion of the policy until the policy is gone.
	raw, operator, reported, reverted time.Duration
}

// convergeBoth lets the bare client and the operator make the same changes in turn, and
// leaves the cluster as the operator has changed it.
func (b *bench) convergeBoth(ctx context.Context) error {
	for round := range rounds {
		c := &b.report.convergence[round]
		if err := b.convergeRaw(ctx, c); err != nil {
			return err
		}
		started := time.Now()
		var err error
		create := func(ctx context.Context) error { return b.admin.Create(ctx, benchPolicy()) }
		if c.operator, err = b.timeUntilDeclared(ctx, kinds, create); err != nil {
			return err
		}
		if err := b.waitUntilReady(ctx); err != nil {
			return err
		}
		c.reported = time.Since(started)
		if round == rounds-1 {
			return b.operator.waitUntilIdle(ctx)
		}
		if err := b.revertPolicy(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// convergeRaw makes the operator's writes to every Node and Service, as fast as a client
// without planning can, and then takes the fields back. Like the operator, the bare client
// makes two writes for a Node, first the record and then a merge patch of the Node, and
// applies a value and an annotation to a Service.
func (b *bench) convergeRaw(ctx context.Context, c *convergence) (err error) {
	taints := fmt.Sprintf(`{"spec":{"taints":[{"key":%q,"effect":%q}]}}`, declaredTaint.Key, declaredTaint.Effect)
	c.raw, err = b.timeUntilDeclared(ctx, kinds[:2], func(ctx context.Context) error {
		return b.writeAll(ctx, b.createRecord, taints, declaredService)
	})
	if err != nil {
		return err
	}
	if err := b.writeAll(ctx, b.deleteRecord, `{"spec":{"taints":null}}`, namedService); err != nil {
		return err
	}
	return b.operator.waitUntilIdle(ctx)
}

// rawManager is the field manager of the bare client. A Service that is applied with a name
// only loses the fields of the manager, so that the operator finds no field of another
// manager.
const rawManager = "raw"

func namedService(key types.NamespacedName) *applycorev1.ServiceApplyConfiguration {
	return applycorev1.Service(key.Name, key.Namespace)
}

func declaredService(key types.NamespacedName) *applycorev1.ServiceApplyConfiguration {
	return namedService(key).
		WithAnnotations(map[string]string{rawManager: `{"field":{"policy":"bench","applied":"","original":null}}`}).
		WithSpec(applycorev1.ServiceSpec().WithInternalTrafficPolicy(corev1.ServiceInternalTrafficPolicyLocal))
}

// writeAll patches every Node, after writing the record, and applies every Service.
func (b *bench) writeAll(
	ctx context.Context, record func(ctx context.Context, node string) error, node string,
	service func(types.NamespacedName) *applycorev1.ServiceApplyConfiguration,
) error {
	nodes, services := kinds[0], kinds[1]
	return runParallel(ctx, b.nodes+b.services, func(i int) error {
		if i >= b.nodes {
			body := service(services.target(operatorUser, i-b.nodes))
			return b.admin.Apply(ctx, body, client.FieldOwner(rawManager), client.ForceOwnership)
		}
		target := nodes.target(operatorUser, i)
		if err := record(ctx, target.Name); err != nil {
			return err
		}
		return b.admin.Patch(ctx, nodes.objectNamed(target), client.RawPatch(types.MergePatchType, []byte(node)))
	})
}

// rawRecord has the size of the operator's record, but the UID of no node: so the operator
// ignores the record.
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

// timeUntilDeclared calls act, and returns the time until watches have shown every object
// of the kinds as declared.
func (b *bench) timeUntilDeclared(ctx context.Context, kinds []kind, act func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, convergeLimit)
	defer cancel()
	counts := map[string]int{"nodes": b.nodes, "services": b.services, "networkpolicies": targets}
	done := make(chan error, len(kinds))
	for _, k := range kinds {
		go func() { done <- b.waitForDeclared(ctx, k, counts[k.resource]) }()
	}
	started := time.Now()
	failures := []error{act(ctx)}
	for range kinds {
		failures = append(failures, <-done)
	}
	return time.Since(started), errors.Join(failures...)
}

// waitForDeclared waits until watches have shown the given number of objects as declared.
// The API server ends the watch of a slow reader; the next watch begins with the existing
// objects.
func (b *bench) waitForDeclared(ctx context.Context, k kind, count int) error {
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

// revertPolicy deletes the policy, and waits until the operator has released the policy.
func (b *bench) revertPolicy(ctx context.Context, c *convergence) error {
	started := time.Now()
	if err := b.admin.Delete(ctx, benchPolicy()); err != nil {
		return err
	}
	gone := func(ctx context.Context) (bool, error) {
		err := b.admin.Get(ctx, client.ObjectKeyFromObject(benchPolicy()), benchPolicy())
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, convergeLimit, true, gone); err != nil {
		return fmt.Errorf("the policy is not released: %w", err)
	}
	c.reverted = time.Since(started)
	return b.operator.waitUntilIdle(ctx)
}

// waitUntilReady waits until the policy's status is Ready.
func (b *bench) waitUntilReady(ctx context.Context) error {
	current := benchPolicy()
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := b.admin.Get(ctx, client.ObjectKeyFromObject(current), current)
		return meta.IsStatusConditionTrue(current.Status.Conditions, v1alpha1.ConditionReady), err
	})
	if err != nil {
		return fmt.Errorf("the status does not become Ready: %w; it is %+v", err, current.Status.Conditions)
	}
	return nil
}
