// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// groupVersion is Calico's API for users.
const groupVersion = "projectcalico.org/v3"

// startNative installs the API as plain CRDs, with the objects that are there
// in every installation.
func (c *Calico) startNative(ctx context.Context) error {
	if err := c.installCRDs(nativeCRDs); err != nil {
		return err
	}
	information := object(groupVersion, "ClusterInformation", "default")
	information.Object["spec"] = map[string]any{"datastoreReady": true, "calicoVersion": "v3.32.0"}
	return c.create(ctx,
		information,
		tier("kube-admin", 1_000, "Pass"),
		tier("default", 1_000_000, "Deny"),
		tier("kube-baseline", 10_000_000, "Pass"),
	)
}

func tier(name string, order int64, defaultAction string) *unstructured.Unstructured {
	tier := object(groupVersion, "Tier", name)
	tier.Object["spec"] = map[string]any{"order": order, "defaultAction": defaultAction}
	return tier
}

func object(apiVersion, kind, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name},
	}}
}

// create creates what Stop is to delete.
func (c *Calico) create(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := c.client.Create(ctx, object); err != nil {
			return fmt.Errorf("create %s: %w", object.GetName(), err)
		}
		c.created = append(c.created, object)
	}
	return nil
}
