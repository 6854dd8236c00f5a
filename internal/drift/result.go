// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"maps"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// Result returns the object after the write, and whether the write deletes the object; a
// deleted object is returned as it was. The result includes the effect of server-side apply
// and of the later removal of foreign parts (see apply.WriteOwned). Result does not change
// the objects of the write.
func (w Write) Result() (object plan.Object, gone bool) {
	switch {
	case w.Live == nil:
		return w.Desired, false
	case w.Desired != nil:
		return applied(w.Desired, w.Live), false
	}
	if felix, shared := w.Live.(*v3.FelixConfiguration); shared && !Alone(felix) {
		return applied(&v3.FelixConfiguration{}, felix), false
	}
	return w.Live, true
}

// applied returns the live object after an apply of the desired object. A managed object
// gets the desired spec: fields added by other managers are claimed and emptied. In a
// shared object only the managed field changes.
func applied(desired, live plan.Object) plan.Object {
	var out plan.Object
	if felix, shared := live.(*v3.FelixConfiguration); shared {
		felix = felix.DeepCopy()
		felix.Spec.FailsafeInboundHostPorts = failsafes(desired, felix)
		out = felix
	} else {
		out = desired.DeepCopyObject().(plan.Object) // of the same type
	}
	out.SetLabels(joinedMaps("labels", desired.GetLabels(), live.GetLabels(), live))
	out.SetAnnotations(joinedMaps("annotations", desired.GetAnnotations(), live.GetAnnotations(), live))
	return out
}

// failsafes returns the failsafe ports of a FelixConfiguration after an apply.
func failsafes(desired plan.Object, live *v3.FelixConfiguration) *[]v3.ProtoPort {
	wanted, ok := desired.(*v3.FelixConfiguration)
	switch {
	case ok && wanted.Spec.FailsafeInboundHostPorts != nil:
		return wanted.Spec.FailsafeInboundHostPorts
	case leaves(live, "spec", "failsafeInboundHostPorts"):
		return nil
	}
	return live.Spec.FailsafeInboundHostPorts
}

// joinedMaps returns the labels or annotations of an object after an apply: the managed
// keys, and the foreign keys beside them.
func joinedMaps(field string, desired, actual map[string]string, live plan.Object) map[string]string {
	out := maps.Clone(actual)
	maps.DeleteFunc(out, func(key, _ string) bool {
		return leaves(live, "metadata", field, key) || field == "labels" && plan.OwnLabel(key) && !plan.Shared(live)
	})
	if out == nil {
		return maps.Clone(desired)
	}
	maps.Copy(out, desired)
	return out
}

// leaves tells whether a field disappears when the operator stops applying the field: the
// operator applied the field, and no other manager holds the field.
func leaves(live plan.Object, path ...any) bool {
	entries := live.GetManagedFields()
	return Holds(entries, v1alpha1.FieldManagerNetwork, path...) && Who(entries, v1alpha1.FieldManagerNetwork, path...).Name == ""
}

// Alone tells whether the operator is the object's only writer. The content is no proof,
// because Calico's API server fills in defaults.
func Alone(live plan.Object) bool {
	return !slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager != v1alpha1.FieldManagerNetwork
	})
}
