// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ServingKind is the purpose of a Service for the rest of the cluster.
type ServingKind string

// The purposes.
const (
	ServingDNS      ServingKind = "DNS"
	ServingMetrics  ServingKind = "Metrics"
	ServingWebhooks ServingKind = "Webhooks"
)

// Serving is a Service on which the rest of the cluster relies.
type Serving struct {
	Kind ServingKind
	// Namespace and Name are the names of the Service, and Selector are the labels of
	// the pods, nil if not known.
	Namespace, Name string
	Selector        map[string]string
	// Ports are the ports of the pods.
	Ports []discoveryv1.EndpointPort
	// For is the configuration of webhooks that names the Service, empty if there is
	// none.
	For string
}

// servingNamespaces are the namespaces of these Services. Only the owner of the cluster
// writes there.
var servingNamespaces = []string{metav1.NamespaceSystem, "openshift-dns"}

// ServesDNS says whether the Service is the DNS service of the cluster. Nearly all
// distributions use the label of kubeadm, under any name.
func ServesDNS(service *corev1.Service) bool {
	switch service.Namespace + "/" + service.Name {
	case "kube-system/kube-dns", "openshift-dns/dns-default":
		return true
	}
	return service.Labels["k8s-app"] == "kube-dns"
}

// servesMetrics says whether the Service is the service of metrics-server
// (https://github.com/kubernetes-sigs/metrics-server, manifests/base/service.yaml).
func servesMetrics(service *corev1.Service) bool {
	return service.Namespace == metav1.NamespaceSystem && (service.Name == "metrics-server" || service.Labels["k8s-app"] == "metrics-server")
}

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations;mutatingwebhookconfigurations,verbs=list;watch

// listServing returns the Services on which the cluster relies, sorted by namespace and
// name.
func (o Observer) listServing(ctx context.Context) ([]Serving, error) {
	all, err := o.listWebhookServices(ctx)
	if err != nil {
		return nil, err
	}
	for _, namespace := range servingNamespaces {
		var services corev1.ServiceList
		if err := o.Cache.List(ctx, &services, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing the services of %s: %w", namespace, err)
		}
		for i := range services.Items {
			all = addServing(all, &services.Items[i])
		}
	}
	for i := range all {
		endpoints, err := o.slicesOf(ctx, types.NamespacedName{Namespace: all[i].Namespace, Name: all[i].Name})
		if err != nil {
			return nil, err
		}
		for _, slice := range endpoints {
			all[i].Ports = append(all[i].Ports, slice.Ports...)
		}
	}
	slices.SortFunc(all, func(a, b Serving) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return all, nil
}

// addServing adds a Service of a system namespace if the cluster relies on the Service,
// and adds the selector of the pods if webhooks name the Service.
func addServing(all []Serving, service *corev1.Service) []Serving {
	for k := range all {
		if all[k].Namespace == service.Namespace && all[k].Name == service.Name {
			all[k].Selector = service.Spec.Selector
		}
	}
	kind := ServingMetrics
	switch {
	case len(service.Spec.Selector) == 0:
		return all
	case ServesDNS(service):
		kind = ServingDNS
	case !servesMetrics(service):
		return all
	}
	return append(all, Serving{Kind: kind, Namespace: service.Namespace, Name: service.Name, Selector: service.Spec.Selector})
}

// listWebhookServices returns the Services in the cluster that the API servers ask
// about requests, each Service once.
func (o Observer) listWebhookServices(ctx context.Context) ([]Serving, error) {
	var validating admissionv1.ValidatingWebhookConfigurationList
	var mutating admissionv1.MutatingWebhookConfigurationList
	for _, list := range []client.ObjectList{&validating, &mutating} {
		if err := o.Cache.List(ctx, list); err != nil {
			return nil, fmt.Errorf("listing configurations of webhooks: %w", err)
		}
	}
	services := map[types.NamespacedName]string{}
	add := func(configuration string, asks admissionv1.WebhookClientConfig) {
		if asks.Service != nil {
			of := types.NamespacedName{Namespace: asks.Service.Namespace, Name: asks.Service.Name}
			if known, is := services[of]; !is || configuration < known {
				services[of] = configuration
			}
		}
	}
	for _, c := range validating.Items {
		for _, w := range c.Webhooks {
			add("ValidatingWebhookConfiguration "+c.Name, w.ClientConfig)
		}
	}
	for _, c := range mutating.Items {
		for _, w := range c.Webhooks {
			add("MutatingWebhookConfiguration "+c.Name, w.ClientConfig)
		}
	}
	var all []Serving
	for of, configuration := range services {
		all = append(all, Serving{Kind: ServingWebhooks, Namespace: of.Namespace, Name: of.Name, For: configuration})
	}
	return all, nil
}

// TransformWebhooks keeps the Services that the API servers ask.
func TransformWebhooks(object any) (any, error) {
	of := func(asks admissionv1.WebhookClientConfig) admissionv1.WebhookClientConfig {
		return admissionv1.WebhookClientConfig{Service: asks.Service}
	}
	switch c := object.(type) {
	case *admissionv1.ValidatingWebhookConfiguration:
		slim := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: nameOnly(c.ObjectMeta)}
		for _, w := range c.Webhooks {
			slim.Webhooks = append(slim.Webhooks, admissionv1.ValidatingWebhook{ClientConfig: of(w.ClientConfig)})
		}
		return slim, nil
	case *admissionv1.MutatingWebhookConfiguration:
		slim := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: nameOnly(c.ObjectMeta)}
		for _, w := range c.Webhooks {
			slim.Webhooks = append(slim.Webhooks, admissionv1.MutatingWebhook{ClientConfig: of(w.ClientConfig)})
		}
		return slim, nil
	}
	return object, nil
}

func nameOnly(of metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: of.Name, UID: of.UID, ResourceVersion: of.ResourceVersion}
}
