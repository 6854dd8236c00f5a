// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// watches maps events to nodes.
type watches struct{ watch.Watcher }

// nodesOfPolicy requests the nodes that a policy selects, has selected, or has written to.
func (w watches) nodesOfPolicy() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		snapshot, err := w.Observe.TakeSnapshot(ctx)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Could not tell which nodes a policy concerns")
			return nil
		}
		records, err := w.Observe.ListNodeRecords(ctx)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Could not tell which nodes a policy concerns")
			return nil
		}
		policy := watch.CompileOne(object)
		var requests []reconcile.Request
		for _, node := range snapshot.Nodes {
			if policy.SelectsNode(node) || records.OfNode(node).MentionsPolicy(policy.Name) {
				requests = append(requests, watch.NewRequest("", node.Name))
			}
		}
		return requests
	})
}
