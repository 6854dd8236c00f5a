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

// startNative installs the API as plain CRDs, with the objects of every installation.
func (c *Calico) startNative(ctx context.Context) error {
	if err := c.installCRDs(nativeCRDs); err != nil {
		return err
	}
	information := newObject(groupVersion, "ClusterInformation", "default")
	information.Object["spec"] = map[string]any{"datastoreReady": true, "calicoVersion": "v3.32.0"}
	return c.createObjects(ctx,
		information,
		tierObject("kube-admin", 1_000, "Pass"),
		tierObject("default", 1_000_000, "Deny"),
		tierObject("kube-baseline", 10_000_000, "Pass"),
	)
}

func tierObject(name string, order int64, defaultAction string) *unstructured.Unstructured {
	tier := newObject(groupVersion, "Tier", name)
	tier.Object["spec"] = map[string]any{"order": order, "defaultAction": defaultAction}
	return tier
}

func newObject(apiVersion, kind, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name},
	}}
}

// createObjects creates objects that Stop deletes.
func (c *Calico) createObjects(ctx context.Context, objects ...client.Object) error {
	for _, object := range objects {
		if err := c.client.Create(ctx, object); err != nil {
			return fmt.Errorf("create %s: %w", object.GetName(), err)
		}
		c.created = append(c.created, object)
	}
	return nil
}
