// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Kinds of this API, and NetworkPolicy, as drift.Object has them.
const (
	kindPolicy        = "ControlPlaneNetworkPolicy"
	kindEnactment     = "ControlPlaneNodeEnactment"
	kindNetworkPolicy = "NetworkPolicy"
)

// notingKinds are the kinds of which the cache must show every write of the operator.
var notingKinds = slices.Concat(hostKinds, []string{kindEnactment})

// noting is a client that records the result of every write, so that Confirmed knows the
// versions that the cache must show.
type noting struct {
	client.Client
	confirmed *Confirmed
	clock     clock.PassiveClock
}

// described is an object that receives the answer of the API server.
type described interface {
	GetName() string
	GetResourceVersion() string
}

func (n *noting) note(answer any, gone bool, err error) error {
	object, named := answer.(described)
	kind := kindOf(answer)
	switch {
	case !named || !slices.Contains(notingKinds, kind):
	case err != nil:
		n.confirmed.failed(err)
	default:
		n.confirmed.wrote(drift.Object{Kind: kind, Name: object.GetName()}, object.GetResourceVersion(), gone, n.clock.Now())
	}
	return err
}

// kindOf returns the kind of a written object.
func kindOf(object any) string {
	if of, tells := object.(interface{ GetKind() string }); tells {
		return of.GetKind()
	}
	switch o := object.(type) {
	case *v1alpha1.ControlPlaneNodeEnactment:
		return kindEnactment
	case plan.Object:
		return drift.ObjectOf(o).Kind
	}
	return ""
}

// Create implements client.Client.
func (n *noting) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return n.note(object, false, n.Client.Create(ctx, object, options...))
}

// Patch implements client.Client.
func (n *noting) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return n.note(object, false, n.Client.Patch(ctx, object, patch, options...))
}

// Delete implements client.Client.
func (n *noting) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return n.note(object, true, n.Client.Delete(ctx, object, options...))
}

// Apply implements client.Client.
func (n *noting) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	return n.note(object, false, n.Client.Apply(ctx, object, options...))
}

// Status implements client.Client.
func (n *noting) Status() client.SubResourceWriter { return notingStatus{n.Client.Status(), n} }

type notingStatus struct {
	client.SubResourceWriter
	of *noting
}

// Patch implements client.SubResourceWriter.
func (s notingStatus) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	return s.of.note(object, false, s.SubResourceWriter.Patch(ctx, object, patch, options...))
}

// Apply implements client.SubResourceWriter.
func (s notingStatus) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
	return s.of.note(object, false, s.SubResourceWriter.Apply(ctx, object, options...))
}
