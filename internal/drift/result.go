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

// Result returns the object as it is once it is written, and whether it is gone then:
// the object is the one that was there in that case. That is what server-side apply
// makes of it, and what is taken out afterwards where that leaves something of others
// (see apply.WriteOwned). Nothing that the write refers to is changed.
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

// applied returns what becomes of an object that is there when the desired one
// is applied. Of one that is the operator's own, the spec is as desired: fields
// that others added are claimed, and emptied. Of a shared one, only our field
// changes.
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

// failsafes returns the failsafe ports that a FelixConfiguration is left with.
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

// joinedMaps returns the labels or annotations that an object is left with: ours,
// and beside them those of others.
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

// leaves says whether a field that is not applied any more goes: it does if the
// operator applied it, and nobody else holds it.
func leaves(live plan.Object, path ...any) bool {
	entries := live.GetManagedFields()
	return Holds(entries, v1alpha1.FieldManagerNetwork, path...) && Who(entries, v1alpha1.FieldManagerNetwork, path...).Name == ""
}

// Alone says whether nobody but the operator has written to the object. Its
// content does not tell: Calico's API server fills in defaults.
func Alone(live plan.Object) bool {
	return !slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager != v1alpha1.FieldManagerNetwork
	})
}
