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

// reportDelay is how long a change of only the report waits for further changes: for the
// repair that follows, and for the next objects of a storm.
const reportDelay = 200 * time.Millisecond

// endpointsDelay is the delay for changes of endpoints if no claim waits for an endpoint:
// in a large cluster, endpoints come and go all the time.
const endpointsDelay = 3 * time.Second

// watcher maps events to the reconciliations needed.
type watcher struct{ observe state.Observer }

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// on handles all events in the same way; before and after are the states around an event,
// nil for a missing state.
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

// policies returns all policies. If the cache cannot be read now, the result is empty; the
// cache will repeat the events later.
func (w watcher) policies(ctx context.Context) []plan.Policy {
	policies, err := w.observe.ListPolicies(ctx)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not tell which policies an event concerns")
		return nil
	}
	return plan.Compile(policies)
}

// policyToReport requests a report on the policy of an event. The report repairs a foreign
// change of the status, and a status decided before the cache showed the last status.
func (w watcher) policyToReport() handler.EventHandler {
	return on(func(_ context.Context, q queue, _, after client.Object) {
		if after != nil {
			q.AddAfter(request("", after.GetName()), reportDelay)
		}
	})
}

// policiesOfPolicy requests all policies, because a change of one policy may win or lose
// claims of every other policy.
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

// policiesOfNode requests all policies. A node that joins, leaves or changes addresses
// changes peers, and the node's fields tell the distribution: both are reconciled at once.
// A change of taints only concerns reports, and waits.
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

// policiesOfService requests reports on the policies of a Service, because of the traffic
// policies and of access from outside the cluster.
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

// policiesOfPod requests reports on policies with components in the pod's namespace,
// because a host-networked pod may belong to a component.
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

// policiesOfEndpointSlice requests reports on the policies of a Service after a change of
// readiness: a ready endpoint may end a hold, and a lost endpoint may make nodes drop
// traffic.
func (w watcher) policiesOfEndpointSlice() handler.EventHandler {
	return on(func(ctx context.Context, q queue, before, after client.Object) {
		service, err := w.serviceOf(ctx, before, after)
		if err != nil {
			return // a missing Service is gone, or causes its own event
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

// policiesOfBackends requests reports on network restrictions, because a Service with
// access from outside may send traffic to a restricted component.
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

// policiesOfNamespace requests reports on policies for Services, because the labels of a
// namespace decide the selection of Services.
func (w watcher) policiesOfNamespace() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		for _, policy := range w.policies(ctx) {
			if len(policy.Spec.Services) > 0 {
				q.AddAfter(request("", policy.Name), reportDelay)
			}
		}
	})
}

// policiesOnHosts requests policies that protect nodes, or have objects of Calico left, and
// deleted policies with remaining objects.
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

// allPolicies requests all policies, because an event may change the kind of cluster.
func (w watcher) allPolicies() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		for _, policy := range w.policies(ctx) {
			q.Add(request("", policy.Name))
		}
	})
}

// policyOfNetworkPolicy requests the existing policy named by a NetworkPolicy's name.
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

// policyOfEnactment requests all policies that protect or roll back hosts: while a node of
// one policy is in flight, nodes of other policies wait.
func (w watcher) policyOfEnactment() handler.EventHandler {
	return on(func(ctx context.Context, q queue, _, _ client.Object) {
		for _, policy := range w.policies(ctx) {
			if policy.ProtectsHosts() || policy.Intent() == plan.IntentRollBack {
				q.Add(request("", policy.Name))
			}
		}
	})
}

// nodesOfPolicy requests the nodes that a policy selects, has selected, or has written to.
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

// servicesOfPolicy requests the Services that a policy selects, has selected, or has
// written to.
func (w watcher) servicesOfPolicy() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, object client.Object) []reconcile.Request {
		policy := compileOne(object)
		return w.services(ctx, func(s state.Service) bool {
			return policy.SelectsService(s) || wroteTo(s.Service, policy.Name)
		})
	})
}

// wroteTo tells whether the Service's record names the policy.
func wroteTo(service *corev1.Service, policy string) bool {
	return drift.Service(service).Record.MentionsPolicy(policy)
}

// servicesOfNamespace requests the Services of a namespace, because the labels of the
// namespace decide the selection of Services.
func (w watcher) servicesOfNamespace() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, namespace client.Object) []reconcile.Request {
		policies := w.policies(ctx)
		return w.services(ctx, func(s state.Service) bool {
			return s.Namespace == namespace.GetName() && anySelects(policies, s.Labels)
		})
	})
}

// servicesWaitingForNode requests Services that wait for endpoints, because traffic policy
// Local may have become possible.
func (w watcher) servicesWaitingForNode() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		policies := w.policies(ctx)
		declares := func(p plan.Policy) bool { return p.DeclaresLocal() }
		if !slices.ContainsFunc(policies, declares) {
			return nil // avoid a useless list of all Services
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
