// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// watches maps events to policies.
type watches struct {
	watch.Watcher
	echoes *freshness.Echoes
}

// policyToReport requests a report on the policy of an event. The report repairs a foreign
// change of the status, and a status decided before the cache showed the last status.
func (w watches) policyToReport() handler.EventHandler {
	return watch.HandleEvery(func(_ context.Context, q watch.Queue, _, after client.Object) {
		if after != nil {
			q.AddAfter(watch.NewRequest("", after.GetName()), timing.ReportDelay)
		}
	})
}

// policiesOfPolicy requests all policies, because a change of one policy may win or lose
// claims of every other policy.
func (w watches) policiesOfPolicy() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		if after == nil {
			q.Add(watch.NewRequest("", before.GetName()))
		} else {
			q.Add(watch.NewRequest("", after.GetName()))
		}
		for _, policy := range w.Policies(ctx) {
			q.Add(watch.NewRequest("", policy.Name))
		}
	})
}

// policiesOfNode requests all policies. A node that joins, leaves or changes addresses
// changes peers, and the node's fields tell the distribution: both are reconciled at once.
// A change of taints only concerns reports, and waits.
func (w watches) policiesOfNode() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		was, hadWas := before.(*corev1.Node)
		is, hasIs := after.(*corev1.Node)
		moved := !hadWas || !hasIs || watch.MembershipChanged(was, is) || watch.IdentityChanged(was, is)
		if !moved && !watch.TaintsChanged(was, is) && was.ResourceVersion != is.ResourceVersion {
			return
		}
		for _, policy := range w.Policies(ctx) {
			if moved {
				q.Add(watch.NewRequest("", policy.Name))
			} else {
				q.AddAfter(watch.NewRequest("", policy.Name), timing.ReportDelay)
			}
		}
	})
}

// policiesOfNodeRecord requests policies that are rolled back or deleted, because such a
// policy waits until no record of a node names the policy. The cache may show the restored
// Node before the record.
func (w watches) policiesOfNodeRecord() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, _, _ client.Object) {
		for _, policy := range w.Policies(ctx) {
			if !policy.Claims() {
				q.AddAfter(watch.NewRequest("", policy.Name), timing.ReportDelay)
			}
		}
	})
}

// policiesOfService requests reports on the policies of a Service, because of the traffic
// policies and of access from outside the cluster.
func (w watches) policiesOfService() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		for _, policy := range w.Policies(ctx) {
			concerned := func(object client.Object) bool {
				service, ok := object.(*corev1.Service)
				if !ok {
					return false
				}
				return policy.SelectsServiceLabels(object.GetLabels()) || watch.RecordMentions(service, policy.Name) ||
					policy.Spec.Network != nil && state.IsExposed(service)
			}
			if concerned(before) || concerned(after) {
				q.AddAfter(watch.NewRequest("", policy.Name), timing.ReportDelay)
			}
		}
	})
}

// policiesOfPod requests reports on policies with components in the pod's namespace,
// because a host-networked pod may belong to a component.
func (w watches) policiesOfPod() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		pod := after
		if pod == nil {
			pod = before
		}
		for _, policy := range w.Policies(ctx) {
			if pipeline.ComponentNamespaces(&policy).Has(pod.GetNamespace()) {
				q.AddAfter(watch.NewRequest("", policy.Name), timing.ReportDelay)
			}
		}
	})
}

// policiesOfEndpointSlice requests reports on the policies of a Service after a change of
// readiness: a ready endpoint may end a hold, and a lost endpoint may make nodes drop
// traffic.
func (w watches) policiesOfEndpointSlice() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		service, err := w.serviceOf(ctx, before, after)
		if err != nil {
			return // a missing Service is gone, or causes its own event
		}
		policies := w.Policies(ctx)
		if !plan.WantsLocal(policies)(service.Service) {
			return
		}
		delay := timing.EndpointsDelay
		if plan.AwaitsLocal(policies)(service.Service) {
			delay = timing.ReportDelay
		}
		for _, policy := range policies {
			if policy.SelectsService(service) {
				q.AddAfter(watch.NewRequest("", policy.Name), delay)
			}
		}
	})
}

// policiesOfBackends requests reports on network restrictions, because a Service with
// access from outside may send traffic to a restricted component.
func (w watches) policiesOfBackends() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		service, err := w.serviceOf(ctx, before, after)
		if err != nil || !state.IsExposed(service.Service) {
			return
		}
		for _, policy := range w.Policies(ctx) {
			if policy.Spec.Network != nil {
				q.AddAfter(watch.NewRequest("", policy.Name), timing.EndpointsDelay)
			}
		}
	})
}

// serviceOf returns the Service of an EndpointSlice.
func (w watches) serviceOf(ctx context.Context, before, after client.Object) (state.Service, error) {
	object := after
	if object == nil {
		object = before
	}
	slice, ok := object.(*state.EndpointSlice)
	if !ok {
		return state.Service{}, fmt.Errorf("an EndpointSlice is a %T in the cache", object)
	}
	key := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Service}
	return w.Observe.GetService(ctx, key, nil)
}

// policiesOfNamespace requests reports on policies for Services, because the labels of a
// namespace decide the selection of Services.
func (w watches) policiesOfNamespace() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, _, _ client.Object) {
		for _, policy := range w.Policies(ctx) {
			if len(policy.Spec.Services) > 0 {
				q.AddAfter(watch.NewRequest("", policy.Name), timing.ReportDelay)
			}
		}
	})
}

// policiesOnHosts requests policies that protect nodes, or have objects of Calico left, and
// deleted policies with remaining objects.
func (w watches) policiesOnHosts() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, _, _ client.Object) {
		there, policies := w.Observe.Backend(), w.Policies(ctx)
		for _, policy := range policies {
			if policy.ProtectsHosts() || pipeline.WroteHosts(&policy, there) {
				q.Add(watch.NewRequest("", policy.Name))
			}
		}
		for _, name := range abandonedPolicies(policies, there) {
			q.AddAfter(watch.NewRequest("", name), timing.EndpointsDelay)
		}
	})
}

// allPolicies requests all policies, because an event may change the kind of cluster.
func (w watches) allPolicies() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, _, _ client.Object) {
		for _, policy := range w.Policies(ctx) {
			q.Add(watch.NewRequest("", policy.Name))
		}
	})
}

// policyOfNetworkPolicy requests the existing policy named by a NetworkPolicy's name. The
// event of the operator's own write only concerns the report, and waits. So does the event
// of a write that reaches the API server at the same time, which is repaired a little later.
func (w watches) policyOfNetworkPolicy() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, before, after client.Object) {
		object := after
		if after == nil {
			object = before
		}
		rest, ours := strings.CutPrefix(object.GetName(), state.NetworkPolicyPrefix)
		policy, _, found := strings.Cut(rest, ".")
		if !ours || !found || plan.FindPolicy(w.Policies(ctx), policy) == nil {
			return
		}
		is := drift.Object{Kind: drift.KindNetworkPolicy, Namespace: object.GetNamespace(), Name: object.GetName()}
		if after != nil && w.echoes.IsEcho(is, after.GetResourceVersion()) {
			q.AddAfter(watch.NewRequest("", policy), timing.ReportDelay)
		} else {
			q.Add(watch.NewRequest("", policy))
		}
	})
}

// policyOfEnactment requests all policies that protect or roll back hosts: while a node of
// one policy is in flight, nodes of other policies wait.
func (w watches) policyOfEnactment() handler.EventHandler {
	return watch.HandleEvery(func(ctx context.Context, q watch.Queue, _, _ client.Object) {
		for _, policy := range w.Policies(ctx) {
			if policy.ProtectsHosts() || policy.Intent() == intent.RollBack {
				q.Add(watch.NewRequest("", policy.Name))
			}
		}
	})
}
