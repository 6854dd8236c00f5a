// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// The transforms below take out of an object, before it enters the cache, all
// that the operator does not look at: a cluster has many Nodes and Services,
// and the operator must be small. What is left is enough to plan and to patch,
// never enough to update a whole object from.

// The fields whose managers drift is attributed to.
var (
	taintsPath    = fieldpath.MakePathOrDie("spec", "taints")
	trafficFields = []string{"externalTrafficPolicy", "internalTrafficPolicy", "trafficDistribution"}
	trafficPaths  = specPaths(trafficFields)
)

func specPaths(fields []string) []fieldpath.Path {
	var paths []fieldpath.Path
	for _, field := range fields {
		paths = append(paths, fieldpath.MakePathOrDie("spec", field))
	}
	return paths
}

// TransformNode keeps a Node's labels, taints, addresses and readiness, and what
// tells its distribution.
func TransformNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	keep, paths := keepLastApplied(nodeAnnotations(node), node.Annotations, []fieldpath.Path{taintsPath}, "taints")
	slim := &corev1.Node{ObjectMeta: slimMeta(node.ObjectMeta, keep, paths...)}
	slim.CreationTimestamp = node.CreationTimestamp
	slim.Spec.Taints = node.Spec.Taints // whole, as a patch of one names all; kubelets may not add any
	slim.Spec.PodCIDRs = node.Spec.PodCIDRs
	slim.Spec.ProviderID = cut(node.Spec.ProviderID, maxText)
	slim.Status.NodeInfo.KubeletVersion = cut(node.Status.NodeInfo.KubeletVersion, maxText)
	slim.Status.NodeInfo.OSImage = cut(node.Status.NodeInfo.OSImage, maxText)
	slim.Status.DaemonEndpoints = node.Status.DaemonEndpoints
	slim.Status.Addresses = nodeAddresses(node.Status.Addresses)
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			slim.Status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return slim, nil
}

// nodeAddresses returns as many addresses as there is room for. The name of a host is
// no longer than the API allows for an address.
func nodeAddresses(addresses []corev1.NodeAddress) []corev1.NodeAddress {
	addresses = firstOf(addresses, maxNodeAddresses)
	if !slices.ContainsFunc(addresses, func(a corev1.NodeAddress) bool { return len(a.Address) > maxText || len(a.Type) > maxText }) {
		return addresses
	}
	bounded := slices.Clone(addresses)
	for i, a := range bounded {
		bounded[i] = corev1.NodeAddress{Type: corev1.NodeAddressType(cut(string(a.Type), maxText)), Address: cut(a.Address, maxText)}
	}
	return bounded
}

// nodeAnnotations returns those of a node that are looked at, some of them without
// their values.
func nodeAnnotations(node *corev1.Node) map[string]string {
	keep := map[string]string{}
	for _, key := range slices.Concat([]string{flannelBackend, ovnSubnets}, tunnelAnnotations, ownAnnotations) {
		if value, ok := node.Annotations[key]; ok {
			keep[key] = cut(value, maxAnnotation)
		}
	}
	if value, ok := node.Annotations[v1alpha1.AnnotationRecord]; ok {
		keep[v1alpha1.AnnotationRecord] = shortRecord(value, maxNodeRecord)
	}
	for _, key := range profile.NodeAnnotations() {
		if _, ok := node.Annotations[key]; ok && keep[key] == "" {
			keep[key] = ""
		}
	}
	if ControlPlane(node) {
		for _, key := range profile.EndpointAnnotations() {
			if value, ok := node.Annotations[key]; ok && len(value) <= maxAnnotation {
				keep[key] = value
			}
		}
	}
	return keep
}

// TransformService keeps a Service's labels, type and traffic policies, and of one
// that is reached from outside the cluster what its traffic is, and of the system's
// whose it is.
func TransformService(object any) (any, error) {
	service, ok := object.(*corev1.Service)
	if !ok {
		return object, nil
	}
	keep := map[string]string{}
	if value, ok := service.Annotations[v1alpha1.AnnotationRecord]; ok {
		keep[v1alpha1.AnnotationRecord] = shortRecord(value, maxRecord)
	}
	if HasNoRoom(service.Annotations) {
		keep[annotationNoRoom] = ""
	}
	keep, paths := keepLastApplied(keep, service.Annotations, trafficPaths, trafficFields...)
	slim := &corev1.Service{ObjectMeta: slimMeta(service.ObjectMeta, keep, paths...)}
	slim.Spec.Type = service.Spec.Type
	slim.Spec.ExternalTrafficPolicy = service.Spec.ExternalTrafficPolicy
	slim.Spec.InternalTrafficPolicy = service.Spec.InternalTrafficPolicy
	slim.Spec.TrafficDistribution = service.Spec.TrafficDistribution
	slim.Spec.ExternalIPs = firstOf(service.Spec.ExternalIPs, maxExternalIPs)
	slim.Spec.LoadBalancerClass = service.Spec.LoadBalancerClass
	if IsHeadless(service) {
		slim.Spec.ClusterIP = corev1.ClusterIPNone
	}
	if IsExposed(service) || slices.Contains(servingNamespaces, service.Namespace) {
		slim.Spec.Selector = boundLabels(service.Spec.Selector)
	}
	if len(service.Spec.ExternalIPs) > 0 {
		for _, port := range firstOf(service.Spec.Ports, maxPorts) {
			slim.Spec.Ports = append(slim.Spec.Ports, corev1.ServicePort{Protocol: port.Protocol, Port: port.Port})
		}
	}
	return slim, nil
}

// TransformEndpointSlice keeps on which nodes a Service has endpoints, which are
// ready, and their addresses and ports: one endpoint for all on a node.
func TransformEndpointSlice(object any) (any, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return object, nil
	}
	slim := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       slice.Namespace,
			Name:            slice.Name,
			ResourceVersion: slice.ResourceVersion,
			Labels:          map[string]string{discoveryv1.LabelServiceName: slice.Labels[discoveryv1.LabelServiceName]},
		},
		AddressType: slice.AddressType,
	}
	for _, port := range firstOf(slice.Ports, maxPorts) {
		kept := discoveryv1.EndpointPort{Protocol: port.Protocol, Port: port.Port}
		if slices.Contains(servingNamespaces, slice.Namespace) {
			kept.Name = port.Name
		}
		slim.Ports = append(slim.Ports, kept)
	}
	type place struct {
		node  string
		ready bool
	}
	endpoints := firstOf(slice.Endpoints, maxEndpoints)
	there := make(map[place]int, len(endpoints))
	slim.Endpoints = make([]discoveryv1.Endpoint, 0, len(endpoints))
	room, nodes := maxEndpointAddresses, maxEndpointNodes
	for _, endpoint := range endpoints {
		at := place{node: ptr.Deref(endpoint.NodeName, ""), ready: isReady(endpoint)}
		i, known := there[at]
		if !known {
			if nodes -= len(at.node); nodes < 0 {
				break
			}
			i = len(slim.Endpoints)
			there[at] = i
			slim.Endpoints = append(slim.Endpoints, discoveryv1.Endpoint{NodeName: endpoint.NodeName})
			if !at.ready {
				slim.Endpoints[i].Conditions.Ready = &unready
			}
		}
		addresses := firstOf(endpoint.Addresses, room)
		room -= len(addresses)
		slim.Endpoints[i].Addresses = append(slim.Endpoints[i].Addresses, addresses...)
	}
	if len(slim.Endpoints) < len(endpoints)/2 {
		slim.Endpoints = slices.Clone(slim.Endpoints) // not to keep the room for the others
	}
	return slim, nil
}

// unready is shared by all endpoints in the cache: nobody writes to these.
var unready = false

// TransformPod keeps what tells that a host-networked pod is a component's.
func TransformPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	slim := &corev1.Pod{ObjectMeta: slimMeta(pod.ObjectMeta, nil)}
	slim.Spec.HostNetwork = pod.Spec.HostNetwork
	slim.Spec.NodeName = pod.Spec.NodeName
	slim.Status.Phase = pod.Status.Phase
	return slim, nil
}

// TransformNetworkPolicy keeps the operator's own NetworkPolicies whole, but for
// what a client-side apply left, of which it is enough to know that there was one,
// and unless they are too large; and of the others the name. They are told apart by name, not by label: a label can
// be taken away, and that must be seen.
func TransformNetworkPolicy(object any) (any, error) {
	policy, ok := object.(*networkingv1.NetworkPolicy)
	if !ok {
		return object, nil
	}
	if strings.HasPrefix(policy.Name, NetworkPolicyPrefix) {
		if policy.Annotations[corev1.LastAppliedConfigAnnotation] != "" {
			kept := *policy
			kept.Annotations = maps.Clone(policy.Annotations)
			kept.Annotations[corev1.LastAppliedConfigAnnotation] = declaresNothing
			policy = &kept
		}
		if policy.Size() > maxWhole {
			return reduceNetworkPolicy(policy), nil
		}
		return policy, nil
	}
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: policy.Namespace, Name: policy.Name, ResourceVersion: policy.ResourceVersion,
	}}, nil
}

// NetworkPolicyPrefix begins the name of every NetworkPolicy of the operator.
const NetworkPolicyPrefix = "cpnp."

func slimMeta(meta metav1.ObjectMeta, annotations map[string]string, paths ...fieldpath.Path) metav1.ObjectMeta {
	if len(annotations) == 0 {
		annotations = nil
	}
	return metav1.ObjectMeta{
		Name:              meta.Name,
		Namespace:         meta.Namespace,
		UID:               meta.UID,
		ResourceVersion:   meta.ResourceVersion,
		DeletionTimestamp: meta.DeletionTimestamp,
		Labels:            boundLabels(meta.Labels),
		Annotations:       annotations,
		ManagedFields:     keepManagers(meta.ManagedFields, paths),
	}
}

// keepManagers returns the managedFields as far as they concern the paths.
func keepManagers(entries []metav1.ManagedFieldsEntry, paths []fieldpath.Path) []metav1.ManagedFieldsEntry {
	if len(paths) == 0 {
		return nil
	}
	var kept []metav1.ManagedFieldsEntry
	for _, entry := range entries {
		if entry.FieldsV1 == nil || entry.Subresource != "" || entry.FieldsV1.Size() > maxManaged || len(kept) == maxManagers {
			continue
		}
		var owned fieldpath.Set
		if err := owned.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			continue
		}
		common := concerned(&owned, paths)
		if common.Empty() {
			continue
		}
		raw, err := common.ToJSON()
		if err != nil {
			continue
		}
		entry.FieldsV1 = metav1.NewFieldsV1(string(raw))
		kept = append(kept, entry)
	}
	return kept
}
