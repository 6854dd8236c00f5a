// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Bounds of what is kept of one object. An object may have more than a mebibyte, and
// whoever may write one can fill it: with labels, addresses, ports, managers. Each
// bound is many times what real objects have, and all of them together let some
// hundred full objects of each kind into the memory that the operator has.
const (
	// maxLabels is for the keys and values of an object's labels, in bytes.
	maxLabels = 16 << 10
	// maxAnnotation is for the value of an annotation, in bytes.
	maxAnnotation = 8 << 10
	// maxText is for any other text, in bytes.
	maxText = 512
	// maxNodeAddresses, maxExternalIPs, maxEndpoints, maxPorts and maxManagers are for
	// the items of lists.
	maxNodeAddresses = 128
	maxExternalIPs   = 128
	maxEndpoints     = 1000
	// maxEndpointNodes is for the names of nodes of a slice, in bytes: a cloud's are of some
	// 50.
	maxEndpointNodes = 64 << 10
	// maxEndpointAddresses is for all addresses of a slice: Kubernetes writes one for
	// each endpoint.
	maxEndpointAddresses = 1000
	maxPorts             = 256
	maxManagers          = 16
	// maxManaged is for the fields of one manager that are read, in bytes.
	maxManaged = 128 << 10
	// maxWhole is for a NetworkPolicy that is kept whole, in bytes.
	maxWhole = 64 << 10
)

// boundLabels returns as many labels as there is room for. Those that tell whose an object
// is come first, and those that kubelets may not set on their nodes, or they could be
// crowded out.
func boundLabels(labels map[string]string) map[string]string {
	size := 0
	for key, value := range labels {
		size += len(key) + len(value)
	}
	if size <= maxLabels {
		return labels
	}
	kept, size := map[string]string{}, 0
	for _, key := range slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		return cmp.Or(cmp.Compare(labelRank(a), labelRank(b)), cmp.Compare(a, b))
	}) {
		if size += len(key) + len(labels[key]); size > maxLabels {
			break
		}
		kept[key] = labels[key]
	}
	return kept
}

// labelRank orders labels by who may set them on a node: the admission plugin
// NodeRestriction denies kubelets all of kubernetes.io but a few prefixes.
func labelRank(key string) int {
	domain, _, _ := strings.Cut(key, "/")
	switch {
	case key == v1alpha1.LabelPolicy || key == v1alpha1.LabelComponent:
		return -1
	case domain == "kubelet.kubernetes.io" || domain == "node.kubernetes.io":
		return 2
	case strings.HasSuffix("."+domain, ".kubernetes.io") || strings.HasSuffix("."+domain, ".k8s.io"):
		return 0
	case domain == v1alpha1.SchemeGroupVersion.Group:
		return 0
	}
	return 1
}

// cut returns the text if it is not too long, and else a part of it.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.Clone(text[:most]) // not to keep the rest in memory
}

// firstOf returns as many items of a list as there is room for.
func firstOf[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	return slices.Clone(list[:most]) // not to keep the others in memory
}

// TransformName keeps the name of an object of which nothing else is looked at.
func TransformName(object any) (any, error) {
	partial, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: partial.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: partial.Namespace, Name: partial.Name, UID: partial.UID, ResourceVersion: partial.ResourceVersion,
	}}, nil
}

// TransformNamespace keeps the name of a namespace and its labels.
func TransformNamespace(object any) (any, error) {
	partial, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: partial.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name: partial.Name, UID: partial.UID, ResourceVersion: partial.ResourceVersion, Labels: boundLabels(partial.Labels),
	}}, nil
}

// annotationSpecHash is set in the cache on a NetworkPolicy that is too large to be
// kept whole: its spec as a hash. An API server takes no annotation of such a name, so
// that nobody else can set it.
const annotationSpecHash = "hash of the spec (in the cache alone)"

// reduceNetworkPolicy keeps of a NetworkPolicy that is too large what tells whose it is
// and whether it is as declared: the metadata within bounds, and of the spec a hash.
// Somebody else's is not one of the operator's for its name alone, and one of the
// operator's may be large where a cluster is.
func reduceNetworkPolicy(policy *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	reduced := boundNetworkPolicy(policy)
	setAnnotation(reduced, annotationSpecHash, SpecHash(&policy.Spec))
	return reduced
}

// boundNetworkPolicy keeps of a NetworkPolicy its metadata, within bounds.
func boundNetworkPolicy(policy *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	reduced := &networkingv1.NetworkPolicy{ObjectMeta: slimMeta(policy.ObjectMeta, map[string]string{})}
	reduced.CreationTimestamp = policy.CreationTimestamp
	for key, value := range policy.Annotations {
		own := strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") || key == AnnotationArgoTracking || key == AnnotationHelmRelease
		if own && len(reduced.Annotations) < maxManagers {
			if reduced.Annotations == nil {
				reduced.Annotations = map[string]string{}
			}
			reduced.Annotations[key] = cut(value, maxText)
		}
	}
	if policy.Annotations[corev1.LastAppliedConfigAnnotation] != "" {
		setAnnotation(reduced, corev1.LastAppliedConfigAnnotation, declaresNothing)
	}
	reduced.ManagedFields = boundManagers(policy.ManagedFields)
	return reduced
}

func setAnnotation(policy *networkingv1.NetworkPolicy, key, value string) {
	if policy.Annotations == nil {
		policy.Annotations = map[string]string{}
	}
	policy.Annotations[key] = value
}

// boundManagers returns as many managers as there is room for, the operator first, and
// of each what it manages unless that is too much.
func boundManagers(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	sorted := slices.SortedStableFunc(slices.Values(entries), func(a, b metav1.ManagedFieldsEntry) int {
		rank := func(e metav1.ManagedFieldsEntry) int {
			if strings.HasPrefix(e.Manager, v1alpha1.SchemeGroupVersion.Group+"/") {
				return 0
			}
			return 1
		}
		return cmp.Compare(rank(a), rank(b))
	})
	sorted = firstOf(sorted, maxManagers)
	for i := range sorted {
		if fields := sorted[i].FieldsV1; fields != nil && fields.Size() > maxAnnotation {
			sorted[i].FieldsV1 = metav1.NewFieldsV1("{}")
		}
	}
	return sorted
}

// SpecHash returns the hash of what a NetworkPolicy says.
func SpecHash(spec *networkingv1.NetworkPolicySpec) string {
	text, err := json.Marshal(spec)
	if err != nil {
		return "" // a type of Kubernetes can always be written as JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// ReducedSpec returns the hash of what a NetworkPolicy of the cache says that was too
// large to be kept; empty of one that is there as it is.
func ReducedSpec(annotations map[string]string) string { return annotations[annotationSpecHash] }
