// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Exposed is a Service that can be reached from outside the cluster.
type Exposed struct {
	types.NamespacedName
	// Selector of the pods; nil if the endpoints have another source.
	Selector labels.Set
	// KeepsClients says whether traffic from outside keeps the address of the client.
	// Otherwise the source is the node at which the traffic arrived.
	KeepsClients bool
	// ExternalIPs are addresses for which nodes accept traffic in place of the Service,
	// and Ports are the accepted ports.
	ExternalIPs []netip.Addr
	Ports       []profile.Traffic
	// Backends receive the traffic.
	Backends []Backends
}

// Backends are addresses with the same ports.
type Backends struct {
	Addresses []netip.Addr
	Ports     []profile.Traffic
}

// IsExposed says whether a Service can be reached from outside the cluster. Nodes
// ignore the externalIPs of headless Services and of external names.
func IsExposed(service *corev1.Service) bool {
	switch service.Spec.Type {
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		return true
	case corev1.ServiceTypeExternalName:
		return false
	default:
		return len(service.Spec.ExternalIPs) > 0 && !IsHeadless(service)
	}
}

// IsHeadless says whether a Service consists of DNS records only, without a proxy.
func IsHeadless(service *corev1.Service) bool { return service.Spec.ClusterIP == corev1.ClusterIPNone }

// ListExposedServices returns the Services that can be reached from outside the
// cluster, sorted by namespace and name.
func (o Observer) ListExposedServices(ctx context.Context) ([]Exposed, error) {
	objects, err := o.listIndexed(ctx, indexed{
		kind: &corev1.Service{}, list: &corev1.ServiceList{}, index: exposedServices, value: exposedValue, values: indexExposed,
	})
	if err != nil {
		return nil, fmt.Errorf("listing exposed services: %w", err)
	}
	exposed := make([]Exposed, 0, len(objects))
	for _, service := range objectsOf[*corev1.Service](objects) {
		one := exposedOf(service)
		slicesOf, err := o.slicesOf(ctx, one.NamespacedName)
		if err != nil {
			return nil, err
		}
		for _, slice := range slicesOf {
			if backends := backendsOf(slice); len(backends.Addresses) > 0 && len(backends.Ports) > 0 {
				one.Backends = append(one.Backends, backends)
			}
		}
		exposed = append(exposed, one)
	}
	slices.SortFunc(exposed, func(a, b Exposed) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return exposed, nil
}

func exposedOf(service *corev1.Service) Exposed {
	one := Exposed{
		NamespacedName: types.NamespacedName{Namespace: service.Namespace, Name: service.Name},
		Selector:       service.Spec.Selector,
		KeepsClients:   service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}
	for _, text := range service.Spec.ExternalIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			one.ExternalIPs = append(one.ExternalIPs, address.Unmap())
		}
	}
	for _, port := range service.Spec.Ports {
		one.Ports = append(one.Ports, trafficTo(port.Protocol, port.Port))
	}
	return one
}

func backendsOf(slice *EndpointSlice) Backends {
	var backends Backends
	for _, endpoint := range slice.Endpoints {
		for _, text := range endpoint.Addresses {
			if address, err := netip.ParseAddr(text); err == nil {
				backends.Addresses = append(backends.Addresses, address.Unmap())
			}
		}
	}
	for _, port := range slice.Ports {
		if port.Port == nil {
			continue // nodes ignore the port too
		}
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		backends.Ports = append(backends.Ports, trafficTo(protocol, *port.Port))
	}
	return backends
}

func trafficTo(protocol corev1.Protocol, port int32) profile.Traffic {
	if protocol == "" {
		protocol = corev1.ProtocolTCP
	}
	return profile.Traffic{Protocol: profile.Protocol(protocol), First: uint16(port), Last: uint16(port)}
}

// SameBackends says whether two versions of an EndpointSlice send traffic to the same
// addresses and ports.
func SameBackends(before, after *EndpointSlice) bool {
	was, is := backendsOf(before), backendsOf(after)
	return slices.Equal(was.Addresses, is.Addresses) && slices.Equal(was.Ports, is.Ports)
}
