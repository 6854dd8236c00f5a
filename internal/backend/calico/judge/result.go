// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"maps"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// resultOf returns the object after the write, and whether the write deletes the object; a
// deleted object is returned as it was. The result includes the effect of server-side apply
// and of the later removal of foreign parts (see apply.WriteOwned). resultOf does not change
// the objects of the write.
func resultOf(w drift.Write) (object plan.Object, gone bool) {
	switch {
	case w.Live == nil:
		return w.Desired, false
	case w.Desired != nil:
		return afterApply(w.Desired, w.Live), false
	}
	if felix, shared := w.Live.(*v3.FelixConfiguration); shared && !drift.IsOnlyWriter(felix) {
		return afterApply(&v3.FelixConfiguration{}, felix), false
	}
	return w.Live, true
}

// afterApply returns the live object after an apply of the desired object. A managed object
// gets the desired spec: fields added by other managers are claimed and emptied. In a
// shared object only the managed field changes.
func afterApply(desired, live plan.Object) plan.Object {
	var out plan.Object
	if felix, shared := live.(*v3.FelixConfiguration); shared {
		felix = felix.DeepCopy()
		felix.Spec.FailsafeInboundHostPorts = failsafesAfterApply(desired, felix)
		out = felix
	} else {
		out = desired.DeepCopyObject().(plan.Object) // of the same type
	}
	out.SetLabels(joinedMaps("labels", desired.GetLabels(), live.GetLabels(), live))
	out.SetAnnotations(joinedMaps("annotations", desired.GetAnnotations(), live.GetAnnotations(), live))
	return out
}

// failsafesAfterApply returns the failsafe ports of a FelixConfiguration after an apply.
func failsafesAfterApply(desired plan.Object, live *v3.FelixConfiguration) *[]v3.ProtoPort {
	wanted, ok := desired.(*v3.FelixConfiguration)
	switch {
	case ok && wanted.Spec.FailsafeInboundHostPorts != nil:
		return wanted.Spec.FailsafeInboundHostPorts
	case drift.FieldDisappears(live, "spec", "failsafeInboundHostPorts"):
		return nil
	}
	return live.Spec.FailsafeInboundHostPorts
}

// joinedMaps returns the labels or annotations of an object after an apply: the managed
// keys, and the foreign keys beside them.
func joinedMaps(field string, desired, actual map[string]string, live plan.Object) map[string]string {
	out := maps.Clone(actual)
	maps.DeleteFunc(out, func(key, _ string) bool {
		return drift.FieldDisappears(live, "metadata", field, key) || field == "labels" && plan.OwnLabel(key) && !plan.IsShared(live)
	})
	if out == nil {
		return maps.Clone(desired)
	}
	maps.Copy(out, desired)
	return out
}
