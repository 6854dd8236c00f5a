// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"maps"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// ownTier is the name of the operator's tier.
const ownTier = "cpnp"

// reduce removes the unread parts of an object. The whole spec stays, because the spec is
// judged. Of kubectl's copy in an annotation, only two facts stay: whether there is a copy,
// and whether the copy declares failsafe ports, the only field that the operator writes in
// a foreign object.
//
// The rest of the metadata stays where the operator may have written the object, because
// drift is attributed by managed fields. In a foreign object, all metadata but the labels
// are removed; the labels stay for the selectors of policies.
func reduce(object client.Object) {
	if isTooLarge(object) {
		return
	}
	annotations := object.GetAnnotations()
	if annotations[corev1.LastAppliedConfigAnnotation] != "" {
		reduced, _ := state.ReduceLastApplied(annotations, "failsafeInboundHostPorts")
		annotations = maps.Clone(annotations) // somebody may read the map of a kept object
		annotations[corev1.LastAppliedConfigAnnotation] = reduced
		object.SetAnnotations(annotations)
	}
	if mayBeOwn(object) {
		return
	}
	kept := map[string]string{}
	for key, value := range annotations {
		if (isOwnKey(key) || key == corev1.LastAppliedConfigAnnotation) && len(value) <= maxAnnotation {
			kept[key] = value
		}
	}
	if len(kept) == 0 {
		kept = nil
	}
	object.SetAnnotations(kept)
	object.SetManagedFields(nil)
	object.SetOwnerReferences(nil)
	object.SetFinalizers(nil)
}

// maxAnnotation bounds a kept annotation of a foreign object: the values of the operator
// are hashes.
const maxAnnotation = 512

// mayBeOwn says whether the operator may have written an object: the object has a label,
// a manager or a name as the operator's. Felix configurations are shared.
func mayBeOwn(object client.Object) bool {
	if _, felix := object.(*v3.FelixConfiguration); felix || strings.HasPrefix(object.GetName(), ownTier) {
		return true
	}
	for key := range object.GetLabels() {
		if isOwnKey(key) {
			return true
		}
	}
	for _, entry := range object.GetManagedFields() {
		if strings.HasPrefix(entry.Manager, v1alpha1.SchemeGroupVersion.Group+"/") {
			return true
		}
	}
	return false
}

func isOwnKey(key string) bool { return strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") }

// ownObjects selects the objects that a rollback needs, on the side of the API server.
func ownObjects(k kind) metav1.ListOptions {
	if k.name == v3.KindTier {
		return metav1.ListOptions{FieldSelector: "metadata.name=" + ownTier}
	}
	return metav1.ListOptions{LabelSelector: v1alpha1.LabelPolicy}
}

// isOwn says whether a selected object may be one of the operator's. The author of
// another tier can set every label and every manager, but no policy of the operator's
// tier. The operator writes no object too large to be decoded.
func isOwn(object client.Object) bool {
	policy, is := object.(*v3.GlobalNetworkPolicy)
	return !isTooLarge(object) && (!is || policy.Spec.Tier == ownTier)
}
