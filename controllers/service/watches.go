// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// watches maps events to Services.
type watches struct{ watch.Watcher }

// servicesOfPolicy requests the Services that a policy selects, has selected, or has
// written to.
func (w watches) servicesOfPolicy() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		policy := watch.CompileOne(object)
		return w.services(ctx, func(s state.Service) bool {
			return policy.SelectsService(s) || watch.RecordMentions(s.Service, policy.Name)
		})
	})
}

// servicesOfNamespace requests the Services of a namespace, because the labels of the
// namespace decide the selection of Services.
func (w watches) servicesOfNamespace() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, namespace client.Object) []reconcile.Request {
		policies := w.Policies(ctx)
		return w.services(ctx, func(s state.Service) bool {
			return s.Namespace == namespace.GetName() && anySelects(policies, s.Labels)
		})
	})
}

// servicesWaitingForNode requests Services that wait for endpoints, because traffic policy
// Local may have become possible.
func (w watches) servicesWaitingForNode() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		policies := w.Policies(ctx)
		declares := func(p plan.Policy) bool { return p.DeclaresLocal() }
		if !slices.ContainsFunc(policies, declares) {
			return nil // avoid a useless list of all Services
		}
		waiting := plan.AwaitsLocal(policies)
		return w.services(ctx, func(s state.Service) bool { return waiting(s.Service) })
	})
}

func (w watches) serviceOfEndpointSlice() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, slice client.Object) []reconcile.Request {
		of, ok := slice.(*state.EndpointSlice)
		if !ok || of.Service == "" {
			return nil
		}
		return []reconcile.Request{watch.NewRequest(of.Namespace, of.Service)}
	})
}

func (w watches) services(ctx context.Context, concerned func(state.Service) bool) []reconcile.Request {
	services, err := w.Observe.ListServices(ctx, nil)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not tell which Services an event concerns")
		return nil
	}
	var requests []reconcile.Request
	for _, service := range services {
		if concerned(service) {
			requests = append(requests, watch.NewRequest(service.Namespace, service.Name))
		}
	}
	return requests
}

func anySelects(policies []plan.Policy, service map[string]string) bool {
	for i := range policies {
		if policies[i].SelectsServiceLabels(service) {
			return true
		}
	}
	return false
}
