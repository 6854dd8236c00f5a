// SPDX-License-Identifier: Apache-2.0

package state

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// The transforms remove all unused fields from an object before the object enters the
// cache: a cluster has many Nodes and Services, and the operator must be small. The
// kept fields are enough to plan and to patch, but never enough to update a whole
// object.

// Drift is attributed to the managers of these fields.
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

// TransformNode keeps the labels, taints, addresses and readiness of a Node, and the
// facts that tell the distribution.
func TransformNode(object any) (any, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return object, nil
	}
	keep, paths := keepLastApplied(keptAnnotations(node), node.Annotations, []fieldpath.Path{taintsPath}, "taints")
	slim := &corev1.Node{ObjectMeta: slimMeta(node.ObjectMeta, keep, paths...)}
	slim.CreationTimestamp = node.CreationTimestamp
	slim.Labels = shareTexts(slim.Labels)
	slim.Spec.Taints = shareTaints(node.Spec.Taints) // all taints, because a patch names all; kubelets may not add taints
	slim.Spec.PodCIDRs = node.Spec.PodCIDRs
	slim.Spec.ProviderID = truncateText(node.Spec.ProviderID, maxText)
	slim.Status.NodeInfo.KubeletVersion = shareText(truncateText(node.Status.NodeInfo.KubeletVersion, maxText))
	slim.Status.NodeInfo.OSImage = shareText(truncateText(node.Status.NodeInfo.OSImage, maxText))
	slim.Status.DaemonEndpoints = node.Status.DaemonEndpoints
	slim.Status.Addresses = boundAddresses(node.Status.Addresses)
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			slim.Status.Conditions = readiness(c.Status)
		}
	}
	return slim, nil
}

// boundAddresses returns the addresses within the bound. A host name is no longer than
// the API allows for an address.
func boundAddresses(addresses []corev1.NodeAddress) []corev1.NodeAddress {
	addresses = firstItems(addresses, maxNodeAddresses)
	if !slices.ContainsFunc(addresses, func(a corev1.NodeAddress) bool { return len(a.Address) > maxText || len(a.Type) > maxText }) {
		return addresses
	}
	bounded := slices.Clone(addresses)
	for i, a := range bounded {
		kind := corev1.NodeAddressType(truncateText(string(a.Type), maxText))
		bounded[i] = corev1.NodeAddress{Type: kind, Address: truncateText(a.Address, maxText)}
	}
	return bounded
}

// keptAnnotations returns the used annotations of a node, some without the value.
func keptAnnotations(node *corev1.Node) map[string]string {
	keep := map[string]string{}
	for _, key := range slices.Concat([]string{flannelBackend, ovnSubnets}, tunnelAnnotations, addressAnnotations) {
		if value, ok := node.Annotations[key]; ok {
			keep[key] = truncateText(value, maxAnnotation)
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
	if IsControlPlaneNode(node) {
		for _, key := range profile.EndpointAnnotations() {
			if value, ok := node.Annotations[key]; ok && len(value) <= maxAnnotation {
				keep[key] = value
			}
		}
	}
	return keep
}

// TransformService keeps the labels, type and traffic policies of a Service, the
// traffic of a Service that can be reached from outside the cluster, and the selector
// of a Service in a system namespace.
func TransformService(object any) (any, error) {
	service, ok := object.(*corev1.Service)
	if !ok {
		return object, nil
	}
	keep := map[string]string{}
	if value, ok := service.Annotations[v1alpha1.AnnotationRecord]; ok {
		keep[v1alpha1.AnnotationRecord] = shortRecord(value, maxRecord)
	}
	if HasNoRoomForRecord(service.Annotations) {
		keep[annotationNoRoom] = ""
	}
	keep, paths := keepLastApplied(keep, service.Annotations, trafficPaths, trafficFields...)
	slim := &corev1.Service{ObjectMeta: slimMeta(service.ObjectMeta, keep, paths...)}
	slim.Labels, slim.Annotations = shareMap(slim.Labels), shareMap(slim.Annotations)
	slim.Spec.Type = shareText(service.Spec.Type)
	slim.Spec.ExternalTrafficPolicy = shareText(service.Spec.ExternalTrafficPolicy)
	slim.Spec.InternalTrafficPolicy = sharePointer(&sharedInternal, service.Spec.InternalTrafficPolicy)
	slim.Spec.TrafficDistribution = sharePointer(&sharedPointers, service.Spec.TrafficDistribution)
	slim.Spec.ExternalIPs = firstItems(service.Spec.ExternalIPs, maxExternalIPs)
	slim.Spec.LoadBalancerClass = service.Spec.LoadBalancerClass
	if IsHeadless(service) {
		slim.Spec.ClusterIP = corev1.ClusterIPNone
	}
	if IsExposed(service) || slices.Contains(servingNamespaces, service.Namespace) {
		slim.Spec.Selector = boundLabels(service.Spec.Selector)
	}
	if len(service.Spec.ExternalIPs) > 0 {
		for _, port := range firstItems(service.Spec.Ports, maxPorts) {
			slim.Spec.Ports = append(slim.Spec.Ports, corev1.ServicePort{Protocol: port.Protocol, Port: port.Port})
		}
	}
	return slim, nil
}

// TransformNetworkPolicy keeps a NetworkPolicy of the operator whole, unless the policy is
// too large. Of the copy of a client-side apply, only the existence is kept. Of other
// NetworkPolicies, only the name is kept. The name tells the policies of the operator, not
// the label: a label can be removed, and the removal must be seen.
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

// NetworkPolicyPrefix is the start of the name of every NetworkPolicy of the operator.
const NetworkPolicyPrefix = "cpnp."

func slimMeta(meta metav1.ObjectMeta, annotations map[string]string, paths ...fieldpath.Path) metav1.ObjectMeta {
	if len(annotations) == 0 {
		annotations = nil
	}
	return metav1.ObjectMeta{
		Name:              meta.Name,
		Namespace:         shareText(meta.Namespace),
		UID:               meta.UID,
		ResourceVersion:   meta.ResourceVersion,
		DeletionTimestamp: meta.DeletionTimestamp,
		Labels:            boundLabels(meta.Labels),
		Annotations:       annotations,
		ManagedFields:     keepManagers(meta.ManagedFields, paths),
	}
}

// keepManagers returns the managedFields that concern the paths.
func keepManagers(entries []metav1.ManagedFieldsEntry, paths []fieldpath.Path) []metav1.ManagedFieldsEntry {
	if len(paths) == 0 {
		return nil
	}
	var kept []metav1.ManagedFieldsEntry
	for _, entry := range entries {
		if entry.FieldsV1 == nil || entry.Subresource != "" || entry.FieldsV1.Size() > maxManaged || len(kept) == maxManagers {
			continue
		}
		owned, readable := ManagedFields(entry)
		if !readable {
			continue
		}
		common := concernedFields(owned, paths)
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
	return shareManagers(kept)
}
