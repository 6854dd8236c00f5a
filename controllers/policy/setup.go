// SPDX-License-Identifier: Apache-2.0

package policy

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/freshness"
	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// Sources are the origins of events from outside the manager's cache.
type Sources struct {
	Requests   *ReportRequests
	Echoes     *freshness.Echoes
	Backend    <-chan event.GenericEvent
	ConfigMaps watch.ConfigMapCaches
	OwnPods    cache.Cache // nil outside of a cluster
}

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, from Sources) error {
	w := watches{watch.Watcher{Observe: r.Observe, Compiled: &watch.Policies{}}, from.Echoes}
	b := builder.ControllerManagedBy(mgr).Named("policy").
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, watch.WithUrgency(w.policiesOfPolicy()), builder.WithPredicates(watch.IntentChanged)).
		Watches(&v1alpha1.ControlPlaneNetworkPolicy{}, w.policyToReport(), builder.WithPredicates(watch.StatusChanged)).
		Watches(&v1alpha1.ControlPlaneNodeEnactment{}, w.policyOfEnactment(), builder.WithPredicates(watch.EnactmentChanged)).
		Watches(&v1alpha1.ControlPlaneNodeRecord{}, w.policiesOfNodeRecord()).
		Watches(&corev1.Node{}, w.policiesOfNode()).
		Watches(&corev1.Service{}, w.policiesOfService(), builder.WithPredicates(watch.ServiceChanged)).
		Watches(&discoveryv1.EndpointSlice{}, w.policiesOfEndpointSlice(), builder.WithPredicates(watch.EndpointsChanged)).
		Watches(&discoveryv1.EndpointSlice{}, w.policiesOfBackends(), builder.WithPredicates(watch.BackendsChanged)).
		WatchesMetadata(&corev1.Namespace{}, w.policiesOfNamespace(), builder.WithPredicates(watch.LabelsChanged)).
		Watches(&corev1.Pod{}, w.policiesOfPod(), builder.WithPredicates(watch.PodChanged)).
		Watches(&networkingv1.NetworkPolicy{}, w.policyOfNetworkPolicy()).
		Watches(&discoveryv1.EndpointSlice{}, w.allPolicies(), builder.WithPredicates(watch.APIServersChanged)).
		Watches(&admissionv1.ValidatingWebhookConfiguration{}, w.allPolicies(), builder.WithPredicates(watch.WebhooksChanged)).
		Watches(&admissionv1.MutatingWebhookConfiguration{}, w.allPolicies(), builder.WithPredicates(watch.WebhooksChanged)).
		WatchesMetadata(&appsv1.DaemonSet{}, w.allPolicies(), builder.WithPredicates(watch.Existence)).
		WatchesRawSource(source.Channel(from.Backend, w.policiesOnHosts())).
		WatchesRawSource(source.Channel(from.Requests.events, w.policyToReport())).
		WithOptions(watch.ControllerOptions(1))
	for _, c := range from.ConfigMaps {
		b = b.WatchesRawSource(source.Kind(c, client.Object(&corev1.ConfigMap{}), w.allPolicies(), watch.ConfigMapChanged))
	}
	if from.OwnPods != nil {
		b = b.WatchesRawSource(source.Kind(from.OwnPods, client.Object(&corev1.Pod{}), w.allPolicies(), watch.OwnPodChanged))
	}
	return b.Complete(r)
}
