// SPDX-License-Identifier: Apache-2.0

package state

import (
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

// EndpointSlice is an EndpointSlice as the cache keeps it. Every Service has one, and most of
// a discoveryv1.EndpointSlice is not read: the labels alone take more memory than this.
type EndpointSlice struct {
	// ObjectMeta has only the name and the version.
	metav1.ObjectMeta
	// Service is the name of the Service, in the same namespace; empty if there is none.
	Service     string
	AddressType discoveryv1.AddressType
	Ports       []discoveryv1.EndpointPort
	Endpoints   []Endpoint
}

// Endpoint stands for all endpoints of one node with the same readiness.
type Endpoint struct {
	// Node is the name of the node; empty for endpoints on no node.
	Node  string
	Ready bool
	// Addresses are the addresses of the endpoints.
	Addresses []string
}

// GetObjectKind implements runtime.Object.
func (s *EndpointSlice) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (s *EndpointSlice) DeepCopyObject() runtime.Object {
	copied := *s
	copied.ObjectMeta = *s.DeepCopy()
	copied.Ports = slices.Clone(s.Ports)
	for i := range copied.Ports {
		copied.Ports[i] = *copied.Ports[i].DeepCopy()
	}
	copied.Endpoints = slices.Clone(s.Endpoints)
	for i := range copied.Endpoints {
		copied.Endpoints[i].Addresses = slices.Clone(copied.Endpoints[i].Addresses)
	}
	return &copied
}

// TransformEndpointSlice keeps the nodes with endpoints, the readiness, and the
// addresses and ports: one endpoint for all endpoints of a node with the same
// readiness.
func TransformEndpointSlice(object any) (any, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return object, nil
	}
	slim := &EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: shareText(slice.Namespace), Name: slice.Name, ResourceVersion: slice.ResourceVersion},
		Service:     slice.Labels[discoveryv1.LabelServiceName],
		AddressType: shareText(slice.AddressType),
	}
	for _, port := range firstItems(slice.Ports, maxPorts) {
		kept := discoveryv1.EndpointPort{Protocol: port.Protocol, Port: port.Port}
		if slices.Contains(servingNamespaces, slice.Namespace) {
			kept.Name = port.Name
		}
		slim.Ports = append(slim.Ports, kept)
	}
	slim.Ports = sharePorts(slim.Ports)
	type place struct {
		node  string
		ready bool
	}
	endpoints := firstItems(slice.Endpoints, maxEndpoints)
	there := make(map[place]int, len(endpoints))
	slim.Endpoints = make([]Endpoint, 0, len(endpoints))
	room, nodes := maxEndpointAddresses, maxEndpointNodes
	for _, endpoint := range endpoints {
		at := place{node: ptr.Deref(endpoint.NodeName, ""), ready: isEndpointReady(endpoint)}
		i, known := there[at]
		if !known {
			if nodes -= len(at.node); nodes < 0 {
				break
			}
			i = len(slim.Endpoints)
			there[at] = i
			slim.Endpoints = append(slim.Endpoints, Endpoint{Node: shareText(at.node), Ready: at.ready})
		}
		addresses := firstItems(endpoint.Addresses, room)
		room -= len(addresses)
		slim.Endpoints[i].Addresses = append(slim.Endpoints[i].Addresses, addresses...)
	}
	if len(slim.Endpoints) < len(endpoints)/2 {
		slim.Endpoints = slices.Clone(slim.Endpoints) // so that the room for the other endpoints leaves the memory
	}
	return slim, nil
}

// isEndpointReady tells whether an endpoint is ready: no condition means ready
// (discovery/v1 API).
func isEndpointReady(endpoint discoveryv1.Endpoint) bool {
	return endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
}
