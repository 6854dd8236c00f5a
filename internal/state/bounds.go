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

// Bounds of the kept part of one object. An object may have more than a mebibyte, and any
// writer can fill an object with labels, addresses, ports, or managers. Each bound is many
// times the size of real objects, and all bounds together let some hundred full objects of
// each kind into the memory of the operator.
const (
	// maxLabels bounds the keys and values of an object's labels, in bytes.
	maxLabels = 16 << 10
	// maxAnnotation bounds the value of an annotation, in bytes.
	maxAnnotation = 8 << 10
	// maxText bounds any other text, in bytes.
	maxText = 512
	// maxNodeAddresses, maxExternalIPs, maxEndpoints, maxPorts and maxManagers bound
	// the number of items of a list.
	maxNodeAddresses = 128
	maxExternalIPs   = 128
	maxEndpoints     = 1000
	// maxEndpointNodes bounds the node names of a slice, in bytes: a node name in a
	// cloud has about 50.
	maxEndpointNodes = 64 << 10
	// maxEndpointAddresses bounds the number of addresses of a slice: Kubernetes writes
	// one address for each endpoint.
	maxEndpointAddresses = 1000
	maxPorts             = 256
	maxManagers          = 16
	// maxManaged bounds the parsed fields of one manager, in bytes.
	maxManaged = 128 << 10
	// maxWhole bounds a NetworkPolicy that is kept whole, in bytes.
	maxWhole = 64 << 10
)

// boundLabels returns the labels within the bound. First come the labels of the operator,
// and the labels that kubelets may not set on nodes. Otherwise other labels could use up
// the room.
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

// labelRank orders labels by who may set a label on a node: the admission plugin
// NodeRestriction denies kubelets all labels of kubernetes.io but a few prefixes.
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

// truncateText returns the first bytes of a text, as many as allowed.
func truncateText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.Clone(text[:most]) // so that the rest leaves the memory
}

// firstItems returns the first items of a list, as many as allowed.
func firstItems[T any](list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	return slices.Clone(list[:most]) // so that the other items leave the memory
}

// TransformName keeps only the name of an object.
func TransformName(object any) (any, error) {
	partial, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: partial.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: partial.Namespace, Name: partial.Name, UID: partial.UID, ResourceVersion: partial.ResourceVersion,
	}}, nil
}

// TransformNamespace keeps the name and the labels of a namespace.
func TransformNamespace(object any) (any, error) {
	partial, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: partial.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name: partial.Name, UID: partial.UID, ResourceVersion: partial.ResourceVersion, Labels: boundLabels(partial.Labels),
	}}, nil
}

// annotationSpecHash is an annotation, in the cache only, with the hash of the spec of
// a NetworkPolicy too large to be kept whole. An API server accepts no annotation with
// such a name, so nobody else can set the annotation.
const annotationSpecHash = "hash of the spec (in the cache alone)"

// reduceNetworkPolicy keeps of a too large NetworkPolicy the metadata within bounds,
// and a hash of the spec: enough to tell who manages the policy, and whether the spec
// is as declared. A foreign policy with a name of the operator's form is not managed,
// and a managed policy may be large in a large cluster.
func reduceNetworkPolicy(policy *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	reduced := boundNetworkPolicy(policy)
	setAnnotation(reduced, annotationSpecHash, SpecHash(&policy.Spec))
	return reduced
}

// boundNetworkPolicy keeps the metadata of a NetworkPolicy, within bounds.
func boundNetworkPolicy(policy *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	reduced := &networkingv1.NetworkPolicy{ObjectMeta: slimMeta(policy.ObjectMeta, map[string]string{})}
	reduced.CreationTimestamp = policy.CreationTimestamp
	for key, value := range policy.Annotations {
		own := strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") || key == AnnotationArgoTracking || key == AnnotationHelmRelease
		if own && len(reduced.Annotations) < maxManagers {
			if reduced.Annotations == nil {
				reduced.Annotations = map[string]string{}
			}
			reduced.Annotations[key] = truncateText(value, maxText)
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

// boundManagers returns the managers within the bound, the operator first, and of each
// manager the managed fields within the bound.
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
	sorted = firstItems(sorted, maxManagers)
	for i := range sorted {
		if fields := sorted[i].FieldsV1; fields != nil && fields.Size() > maxAnnotation {
			sorted[i].FieldsV1 = metav1.NewFieldsV1("{}")
		}
	}
	return sorted
}

// SpecHash returns the hash of the spec of a NetworkPolicy.
func SpecHash(spec *networkingv1.NetworkPolicySpec) string {
	text, err := json.Marshal(spec)
	if err != nil {
		return "" // types of Kubernetes can always be written as JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// ReducedSpecHash returns the hash of the spec of a NetworkPolicy too large for the cache;
// empty for a policy kept whole.
func ReducedSpecHash(annotations map[string]string) string { return annotations[annotationSpecHash] }
