// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// countingClient is a client that counts writes.
type countingClient struct{ client.Client }

// CountWrites returns the client, with its writes counted.
func CountWrites(c client.Client) client.Client { return countingClient{c} }

// Create implements client.Client.
func (c countingClient) Create(ctx context.Context, object client.Object, options ...client.CreateOption) error {
	return c.count(object, c.Client.Create(ctx, object, options...))
}

// Update implements client.Client.
func (c countingClient) Update(ctx context.Context, object client.Object, options ...client.UpdateOption) error {
	return c.count(object, c.Client.Update(ctx, object, options...))
}

// Patch implements client.Client.
func (c countingClient) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	return c.count(object, c.Client.Patch(ctx, object, patch, options...))
}

// Delete implements client.Client.
func (c countingClient) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	return c.count(object, c.Client.Delete(ctx, object, options...))
}

// Apply implements client.Client.
func (c countingClient) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	return c.count(object, c.Client.Apply(ctx, object, options...))
}

// Status implements client.Client.
func (c countingClient) Status() client.SubResourceWriter {
	return countingStatus{c.Client.Status(), c}
}

type countingStatus struct {
	client.SubResourceWriter
	of countingClient
}

// Update implements client.SubResourceWriter.
func (s countingStatus) Update(ctx context.Context, object client.Object, options ...client.SubResourceUpdateOption) error {
	return s.of.count(object, s.SubResourceWriter.Update(ctx, object, options...))
}

// Patch implements client.SubResourceWriter.
func (s countingStatus) Patch(
	ctx context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption,
) error {
	return s.of.count(object, s.SubResourceWriter.Patch(ctx, object, patch, options...))
}

// Apply implements client.SubResourceWriter.
func (s countingStatus) Apply(ctx context.Context, object runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
	return s.of.count(object, s.SubResourceWriter.Apply(ctx, object, options...))
}

// count counts a write, and returns its error.
func (c countingClient) count(object any, err error) error {
	CountWrite(c.kindOf(object), err)
	return err
}

// kindOf returns the kind of a written object. The operator writes objects of few kinds.
func (c countingClient) kindOf(object any) string {
	if of, tells := object.(interface{ GetKind() string }); tells {
		return of.GetKind()
	}
	if typed, is := object.(runtime.Object); is {
		if kind, err := c.GroupVersionKindFor(typed); err == nil {
			return kind.Kind
		}
	}
	return "unknown"
}
