// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

const nullFlag = "null-repairer"

// beNullRepairer repairs only its own labelled objects, with the least possible work: a
// watch, and a PATCH prepared at the first sight of an object, of the same type as the
// operator's. The null repairer has neither cache nor queue, and neither plans nor reports.
func beNullRepairer(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	c, err := client.NewWithWatch(options.UnthrottledConfig(config), client.Options{Scheme: options.NewScheme()})
	if err != nil {
		return err
	}
	done := make(chan error, len(kinds))
	for _, k := range kinds {
		go func() { done <- repairAll(ctx, c, k) }()
	}
	return <-done
}

func repairAll(ctx context.Context, c client.WithWatch, k kind) error {
	open, err := c.Watch(ctx, k.list(), client.MatchingLabels(ownerLabels(nullUser)))
	if err != nil {
		return err
	}
	prepared := map[types.NamespacedName]request{}
	for event := range open.ResultChan() {
		object, ok := event.Object.(client.Object)
		if !ok {
			return fmt.Errorf("watching %s: %v", k.resource, event.Object)
		}
		key := client.ObjectKeyFromObject(object)
		switch repair, seen := prepared[key]; {
		case !seen:
			if prepared[key] = k.repairRequest(key, object); len(prepared) == targets {
				fmt.Fprintln(os.Stdout, nullReady)
			}
		case !k.right(object):
			if err := k.restore(ctx, c, key, repair); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("the watch of %s has ended", k.resource)
}

// nullReady is printed once for each kind.
const nullReady = "ready"
