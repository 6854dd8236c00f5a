// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

type (
	queue         = workqueue.TypedRateLimitingInterface[reconcile.Request]
	managedFields = metav1.ManagedFieldsEntry
)

// reportDelay is how long a change that only concerns a policy's report waits
// for others: the repair that follows, and the next objects of a storm.
const reportDelay = 200 * time.Millisecond

// endpointsDelay is that of what endpoints change in a report where nothing waits
// for it: in a large cluster, some come and go all the time.
const endpointsDelay = 3 * time.Second

// watcher maps events to what has to be reconciled because of them.
type watcher struct{ observe state.Observer }

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// on handles every event in the same way; of an update, before and after.
func on(handle func(ctx context.Context, q queue, before, after client.Object)) handler.EventHandler {
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { handle(ctx, q, nil, e.Object) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { handle(ctx, q, e.Object, nil) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { handle(ctx, q, nil, e.Object) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			handle(ctx, q, e.ObjectOld, e.ObjectNew)
		},
	}
}

// policies returns all policies. A cache that can not be read now will bring
// its events again when it can.
func (w watcher) policies(ctx context.Context) []plan.Policy {
	policies, err := w.observe.ListPolicies(ctx)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not tell which policies an event concerns")
		return nil
	}
	return plan.Compile(policies)
}

// policyToReport: the policy itself. A status that others have changed is put
// right, and so is one of ours that was decided on before the cache showed the
// last one.
func (w watcher) policyToReport() handler.EventHandler {
	return on(func(_ context.Context, q queue, _, after client.Object) {
		if after != nil {
			q.AddAfter(request("", after.GetName()), reportDelay)
		}
	})
}

// policiesOfPolicy: every policy may win or lose a claim by another's change.
func (w watcher) policiesOfPolicy() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		if after == nil {
			q.Add(request("", before.GetName()))
		} else {
			q.Add(request("", after.GetName()))
		}
		for _, policy := range w.policies(ctx) {
			q.Add(request("", policy.Name))
		}
	})
}

// policiesOfNode: a node that joins, leaves or changes address changes who the
// peers are, and what it shows tells the distribution, at once; a change of its taints concerns reports only.
func (w watcher) policiesOfNode() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		was, hadWas := before.(*corev1.Node)
		is, hasIs := after.(*corev1.Node)
		moved := !hadWas || !hasIs || joining(was, is) || telling(was, is)
		if !moved && !tainting(was, is) && was.ResourceVersion != is.ResourceVersion {
			return
		}
		for _, policy := range w.policies(ctx) {
			if moved {
				q.Add(request("", policy.Name))
			} else {
				q.AddAfter(request("", policy.Name), reportDelay)
			}
		}
	})
}

// policiesOfService: its traffic policies concern reports only, and so does that
// it is reached from outside.
func (w watcher) policiesOfService() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		for _, policy := range w.policies(ctx) {
			concerned := func(object client.Object) bool {
				service, ok := object.(*corev1.Service)
				if !ok {
					return false
				}
				return policy.SelectsServiceLabels(object.GetLabels()) || wroteTo(service, policy.Name) ||
					policy.Spec.Network != nil && state.IsExposed(service)
			}
			if concerned(before) || concerned(after) {
				q.AddAfter(request("", policy.Name), reportDelay)
			}
		}
	})
}

// policiesOfPod: a host-networked pod may be one of a component's.
func (w watcher) policiesOfPod() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		pod := after
		if pod == nil {
			pod = before
		}
		for _, policy := range w.policies(ctx) {
			if namespacesOf(&policy).Has(pod.GetNamespace()) {
				q.AddAfter(request("", policy.Name), reportDelay)
			}
		}
	})
}

// policiesOfEndpointSlice: that an endpoint is ready may end what a policy holds
// back; and that one is not any more may make the nodes drop traffic.
func (w watcher) policiesOfEndpointSlice() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		service, err := w.serviceOf(ctx, before, after)
		if err != nil {
			return // it is gone, or comes with an event of its own
		}
		policies := w.policies(ctx)
		if !plan.WantsLocal(policies)(service.Service) {
			return
		}
		delay := endpointsDelay
		if plan.AwaitsLocal(policies)(service.Service) {
			delay = reportDelay
		}
		for _, policy := range policies {
			if policy.SelectsService(service) {
				q.AddAfter(request("", policy.Name), delay)
			}
		}
	})
}

// policiesOfBackends: a Service that is reached from outside may send traffic to
// what a policy restricts.
func (w watcher) policiesOfBackends() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		service, err := w.serviceOf(ctx, before, after)
		if err != nil || !state.IsExposed(service.Service) {
			return
		}
		for _, policy := range w.policies(ctx) {
			if policy.Spec.Network != nil {
				q.AddAfter(request("", policy.Name), endpointsDelay)
			}
		}
	})
}

// serviceOf returns the Service of an EndpointSlice.
func (w watcher) serviceOf(ctx context.Context, before, after client.Object) (state.Service, error) {
	slice := after
	if slice == nil {
		slice = before
	}
	key := types.NamespacedName{Namespace: slice.GetNamespace(), Name: slice.GetLabels()[discoveryv1.LabelServiceName]}
	return w.observe.GetService(ctx, key, nil)
}

// policiesOfNamespace: a namespace's labels decide which Services are selected.
func (w watcher) policiesOfNamespace() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		for _, policy := range w.policies(ctx) {
			if len(policy.Spec.Services) > 0 {
				q.AddAfter(request("", policy.Name), reportDelay)
			}
		}
	})
}

// policiesOnHosts: those that protect nodes, or did and have left something; those that
// are gone, too.
func (w watcher) policiesOnHosts() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		there, policies := w.observe.Calico(), w.policies(ctx)
		for _, policy := range policies {
			if policy.ProtectsHosts() || wroteHosts(&policy, there) {
				q.Add(request("", policy.Name))
			}
		}
		for _, name := range abandonedPolicies(policies, there) {
			q.AddAfter(request("", name), endpointsDelay)
		}
	})
}

// allPolicies: something has changed that tells which kind of cluster it is.
func (w watcher) allPolicies() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		for _, policy := range w.policies(ctx) {
			q.Add(request("", policy.Name))
		}
	})
}

// policyOfNetworkPolicy: the name tells which policy it belongs to, if there is one.
func (w watcher) policyOfNetworkPolicy() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		rest, ours := strings.CutPrefix(object.GetName(), state.NetworkPolicyPrefix)
		policy, _, found := strings.Cut(rest, ".")
		if !ours || !found || plan.Find(w.policies(ctx), policy) == nil {
			return nil
		}
		return []reconcile.Request{request("", policy)}
	})
}

// policyOfEnactment: the one that it is of. Where another one has a node under
// way, its own nodes wait.
func (w watcher) policyOfEnactment() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		for _, policy := range w.policies(ctx) {
			if policy.ProtectsHosts() || policy.Intent() == plan.IntentRollBack {
				q.Add(request("", policy.Name))
			}
		}
	})
}

// nodesOfPolicy: those that it selects, selected, or has written to.
func (w watcher) nodesOfPolicy() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		snapshot, err := w.observe.TakeSnapshot(ctx)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Could not tell which nodes a policy concerns")
			return nil
		}
		records, err := w.observe.ListNodeRecords(ctx)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Could not tell which nodes a policy concerns")
			return nil
		}
		policy := compileOne(object)
		var requests []reconcile.Request
		for i := range snapshot.Nodes {
			node := &snapshot.Nodes[i]
			if policy.Selects(node) || records.OfNode(node).MentionsPolicy(policy.Name) {
				requests = append(requests, request("", node.Name))
			}
		}
		return requests
	})
}

// servicesOfPolicy: those that it selects, selected, or has written to.
func (w watcher) servicesOfPolicy() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		policy := compileOne(object)
		return w.services(ctx, func(s state.Service) bool {
			return policy.SelectsService(s) || wroteTo(s.Service, policy.Name)
		})
	})
}

// wroteTo says whether the Service's record tells of the policy.
func wroteTo(service *corev1.Service, policy string) bool {
	return drift.Service(service).Record.MentionsPolicy(policy)
}

// servicesOfNamespace: a namespace's labels decide whether its Services are
// selected.
func (w watcher) servicesOfNamespace() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, namespace client.Object) []reconcile.Request {
		policies := w.policies(ctx)
		return w.services(ctx, func(s state.Service) bool {
			return s.Namespace == namespace.GetName() && anySelects(policies, s.Labels)
		})
	})
}

// servicesWaitingForNode: traffic policy Local may have become possible.
func (w watcher) servicesWaitingForNode() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		policies := w.policies(ctx)
		declares := func(p plan.Policy) bool { return p.DeclaresLocal() }
		if !slices.ContainsFunc(policies, declares) {
			return nil // not to list all Services for nothing
		}
		waiting := plan.AwaitsLocal(policies)
		return w.services(ctx, func(s state.Service) bool { return waiting(s.Service) })
	})
}

func (w watcher) serviceOfEndpointSlice() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, slice client.Object) []reconcile.Request {
		service := slice.GetLabels()[discoveryv1.LabelServiceName]
		if service == "" {
			return nil
		}
		return []reconcile.Request{request(slice.GetNamespace(), service)}
	})
}

func (w watcher) services(ctx context.Context, concerned func(state.Service) bool) []reconcile.Request {
	services, err := w.observe.ListServices(ctx, nil)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not tell which Services an event concerns")
		return nil
	}
	var requests []reconcile.Request
	for _, service := range services {
		if concerned(service) {
			requests = append(requests, request(service.Namespace, service.Name))
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

func compileOne(object client.Object) plan.Policy {
	policy, ok := object.(*v1alpha1.ControlPlaneNetworkPolicy)
	if !ok {
		policy = &v1alpha1.ControlPlaneNetworkPolicy{}
	}
	return plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*policy})[0]
}
