// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// hostEndpoint returns an endpoint with labels, each with the value "".
func hostEndpoint(labels ...string) *v3.HostEndpoint {
	e := &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1"}, Spec: v3.HostEndpointSpec{Node: "cp-1", InterfaceName: "*"}}
	for _, label := range labels {
		metav1.SetMetaDataLabel(&e.ObjectMeta, label, "")
	}
	return e
}

// felixOf returns a configuration with failsafe ports, nil for none.
func felixOf(ports *[]v3.ProtoPort, edits ...func(*v3.FelixConfiguration)) *v3.FelixConfiguration {
	f := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"}, Spec: v3.FelixConfigurationSpec{FailsafeInboundHostPorts: ports}}
	for _, edit := range edits {
		edit(f)
	}
	return f
}

func TestResultOfAWriteEqualsServerSideApply(t *testing.T) {
	ours := func(paths ...[]any) metav1.ManagedFieldsEntry {
		return owns(v1alpha1.FieldManagerNetwork, apply, 1, paths...)
	}
	theirs := func(paths ...[]any) metav1.ManagedFieldsEntry { return owns("kubectl-edit", set, 2, paths...) }
	label := func(key string) []any { return path("metadata", "labels", key) }
	failsafes := path("spec", "failsafeInboundHostPorts")
	managed := func(e *v3.HostEndpoint, entries ...metav1.ManagedFieldsEntry) *v3.HostEndpoint {
		e.ManagedFields = entries
		return e
	}
	by := func(entries ...metav1.ManagedFieldsEntry) func(*v3.FelixConfiguration) {
		return func(f *v3.FelixConfiguration) { f.ManagedFields = entries }
	}
	labelled := func(f *v3.FelixConfiguration) { f.Labels = map[string]string{v1alpha1.LabelPolicy: "dns"} }
	verbose := func(f *v3.FelixConfiguration) { f.Spec.LogSeverityScreen = "Debug" }
	wide, narrow := &[]v3.ProtoPort{{Protocol: "tcp", Port: 2379}}, &[]v3.ProtoPort{{Protocol: "tcp", Port: 2379, Net: "10.0.0.0/24"}}

	tests := map[string]struct {
		write drift.Write
		want  plan.Object
		gone  bool
	}{
		"A new object is as desired": {drift.Write{Desired: hostEndpoint("a")}, hostEndpoint("a"), false},
		"Foreign labels stay": {
			drift.Write{Desired: hostEndpoint("a"), Live: managed(hostEndpoint("a", "team"), ours(label("a")), theirs(label("team")))},
			hostEndpoint("a", "team"), false,
		},
		"A label of unknown managers stays": {
			drift.Write{Desired: hostEndpoint("a"), Live: managed(hostEndpoint("projectcalico.org/tier"), ours(label("a")))},
			hostEndpoint("a", "projectcalico.org/tier"), false,
		},
		"A label of the operator that is no longer desired is removed": {
			drift.Write{Desired: hostEndpoint("a"), Live: managed(hostEndpoint("a", "enforced"), ours(label("a"), label("enforced")))},
			hostEndpoint("a"), false,
		},
		"A label of the operator that another manager owns too stays": {
			drift.Write{Desired: hostEndpoint("a"), Live: managed(hostEndpoint("a", "enforced"), ours(label("a"), label("enforced")), theirs(label("enforced")))},
			hostEndpoint("a", "enforced"), false,
		},
		"A changed label of the operator is written again": {
			drift.Write{Desired: hostEndpoint("a"), Live: func() plan.Object {
				live := managed(hostEndpoint(), theirs(label("a")))
				live.Labels = map[string]string{"a": "theirs"}
				return live
			}()},
			hostEndpoint("a"), false,
		},
		"Foreign annotations stay": {
			drift.Write{Desired: hostEndpoint(), Live: func() plan.Object {
				live := hostEndpoint()
				live.Annotations = map[string]string{"note": "x"}
				return live
			}()},
			func() plan.Object {
				want := hostEndpoint()
				want.Annotations = map[string]string{"note": "x"}
				return want
			}(), false,
		},
		"A foreign addition to the spec of a managed object is removed": {
			drift.Write{Desired: hostEndpoint(), Live: func() plan.Object {
				live := hostEndpoint()
				live.Spec.Profiles = []string{"theirs"}
				return live
			}()},
			hostEndpoint(), false,
		},
		"An object that is not desired is deleted": {drift.Write{Live: hostEndpoint("a")}, hostEndpoint("a"), true},
		"In a shared object only the operator's field changes": {
			drift.Write{Desired: felixOf(narrow, labelled), Live: felixOf(wide, verbose, by(theirs(failsafes)))},
			felixOf(narrow, labelled, verbose), false,
		},
		"A shared object with no other manager is deleted": {
			drift.Write{Live: felixOf(narrow, by(ours(failsafes)))}, felixOf(narrow), true,
		},
		"In a shared object with other managers the operator's field is removed": {
			drift.Write{Live: felixOf(narrow, labelled, verbose, by(ours(failsafes, label(v1alpha1.LabelPolicy)), theirs(path("spec", "logSeverityScreen"))))},
			felixOf(nil, verbose), false,
		},
		"The operator's field stays where other managers own it too": {
			drift.Write{Live: felixOf(narrow, by(ours(failsafes), theirs(failsafes)))}, felixOf(narrow), false,
		},
		"A field that other managers took over stays": {
			drift.Write{Live: felixOf(wide, by(ours(label(v1alpha1.LabelPolicy)), theirs(failsafes)))}, felixOf(wide), false,
		},
		"An empty list of failsafe ports is a desired value": {
			drift.Write{Desired: felixOf(ptr.To([]v3.ProtoPort{})), Live: felixOf(wide)}, felixOf(ptr.To([]v3.ProtoPort{})), false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var before plan.Object
			if test.write.Live != nil {
				before = test.write.Live.DeepCopyObject().(plan.Object)
			}
			result := judge.WritesOf(drift.Diff{Writes: []drift.Write{test.write}})[0]
			got, gone := result.Object, result.Delete
			if gone != test.gone {
				t.Errorf("gone: %v", gone)
			}
			if test.write.Live != nil {
				if diff := cmp.Diff(before, test.write.Live); diff != "" {
					t.Errorf("the live object was changed (-before +after):\n%s", diff)
				}
			}
			got = got.DeepCopyObject().(plan.Object)
			got.SetManagedFields(nil)
			if len(got.GetLabels()) == 0 {
				got.SetLabels(nil)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// owns returns an entry of managedFields with the paths.
func owns(manager string, operation metav1.ManagedFieldsOperationType, minute int, paths ...[]any) metav1.ManagedFieldsEntry {
	var set fieldpath.Set
	for _, path := range paths {
		set.Insert(fieldpath.MakePathOrDie(path...))
	}
	raw, err := set.ToJSON()
	if err != nil {
		panic(fmt.Sprintf("a set of paths is always JSON: %v", err))
	}
	when := metav1.NewTime(time.Unix(int64(minute)*60, 0))
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: operation, Time: &when, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(string(raw)),
	}
}

const (
	apply = metav1.ManagedFieldsOperationApply
	set   = metav1.ManagedFieldsOperationUpdate
)

func path(names ...any) []any { return names }
