// SPDX-License-Identifier: Apache-2.0

package freshness

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// isRecorded tells whether the cache must show every write of the operator to a kind.
func isRecorded(kind string) bool {
	return kind == drift.KindEnactment || slices.Contains(backend.KindNames(), kind)
}

// Client is a client that records the result of every write, so that Confirmed knows the
// versions that the cache must show, and Echoes know the events of the writes.
type Client struct {
	client.Client
	confirmed *Confirmed
	echoes    *Echoes
	clock     clock.PassiveClock
}

// NewClient returns a client that records its writes in confirmed and echoes.
func NewClient(c client.Client, confirmed *Confirmed, echoes *Echoes, clock clock.PassiveClock) *Client {
	return &Client{c, confirmed, echoes, clock}
}

// described is an object that receives the answer of the API server.
type described interface {
	GetNamespace() string
	GetName() string
	GetResourceVersion() string
}

func (c *Client) note(answer any, gone bool, err error) error {
	object, named := answer.(described)
	kind := kindOf(answer)
	switch {
	case !named || !isRecorded(kind):
	case err != nil:
		c.confirmed.Failed(err)
	default:
		c.confirmed.Wrote(drift.Object{Kind: kind, Name: object.GetName()}, object.GetResourceVersion(), gone, c.clock.Now())
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
		return drift.KindEnactment
	case plan.Object:
		return drift.ObjectOf(o).Kind
	}
	return ""
}

// Create implements client.Client.
func (c *Client) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return c.note(object, false, c.Client.Create(ctx, object, options...))
}

// Patch implements client.Client.
func (c *Client) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return c.noteEcho(object, func() error { return c.note(object, false, c.Client.Patch(ctx, object, patch, options...)) })
}

// Delete implements client.Client.
func (c *Client) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return c.note(object, true, c.Client.Delete(ctx, object, options...))
}

// Apply implements client.Client.
func (c *Client) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	return c.noteEcho(object, func() error { return c.note(object, false, c.Client.Apply(ctx, object, options...)) })
}

// noteEcho makes a write to a NetworkPolicy known as the operator's own, before its event can
// come.
func (c *Client) noteEcho(answer any, write func() error) error {
	object, named := answer.(described)
	if !named || kindOf(answer) != drift.KindNetworkPolicy {
		return write()
	}
	answered := c.echoes.begin(drift.Object{Kind: drift.KindNetworkPolicy, Namespace: object.GetNamespace(), Name: object.GetName()})
	if err := write(); err != nil {
		answered("")
		return err
	}
	answered(object.GetResourceVersion())
	return nil
}

// Status implements client.Client.
func (c *Client) Status() client.SubResourceWriter { return notingStatus{c.Client.Status(), c} }

type notingStatus struct {
	client.SubResourceWriter
	of *Client
}

// Patch implements client.SubResourceWriter.
func (s notingStatus) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	return s.of.note(object, false, s.SubResourceWriter.Patch(ctx, object, patch, options...))
}

// Apply implements client.SubResourceWriter.
func (s notingStatus) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
	return s.of.note(object, false, s.SubResourceWriter.Apply(ctx, object, options...))
}
