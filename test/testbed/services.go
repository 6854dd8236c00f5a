// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// ServiceOption changes a Service of the function [Service].
type ServiceOption func(*corev1.Service)

// Service is a Service of the given type on TCP port 80. Without a selector, the endpoints
// come from [EndpointSlice]; with [Selector], a controller-manager makes the endpoints from
// pods.
func Service(namespace, name string, kind corev1.ServiceType, options ...ServiceOption) *corev1.Service {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type:  kind,
			Ports: []corev1.ServicePort{{Name: "main", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	for _, option := range options {
		option(service)
	}
	return service
}

// ServiceLabels adds labels.
func ServiceLabels(labels map[string]string) ServiceOption {
	return func(service *corev1.Service) {
		if service.Labels == nil {
			service.Labels = map[string]string{}
		}
		for key, value := range labels {
			service.Labels[key] = value
		}
	}
}

// Selector sets the labels of the pods behind the Service.
func Selector(labels map[string]string) ServiceOption {
	return func(service *corev1.Service) { service.Spec.Selector = labels }
}

// EndpointSlice is the single slice of IPv4 endpoints of a Service without a selector.
func EndpointSlice(service *corev1.Service, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace,
			Name:      service.Name,
			Labels:    map[string]string{discoveryv1.LabelServiceName: service.Name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   endpoints,
	}
	for _, port := range service.Spec.Ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name: ptr.To(port.Name), Protocol: ptr.To(port.Protocol), Port: ptr.To(port.Port),
		})
	}
	return slice
}

// Endpoint is one endpoint, on a node.
func Endpoint(node, address string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		NodeName:   ptr.To(node),
		Addresses:  []string{address},
		Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready), Serving: ptr.To(ready)},
	}
}
