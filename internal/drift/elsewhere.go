// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// What is declared elsewhere is told by annotations, labels and the names of
// managers, all of which anybody may set who may change the object. Whoever does
// so without cause gets the operator to leave a field of that object alone, or an
// object of that name, and to say so: never to write a value, to release one, or
// to delete anything.

// Tools that keep objects as they are declared elsewhere.
const (
	ToolArgo = "Argo CD"
	ToolFlux = "Flux"
	ToolHelm = "Helm"
)

// tools are the tools by the names with which they write: what such a manager has
// set is mostly what is declared there, though its operation is not Apply. Argo CD
// writes client-side by default; Helm before 4 patches.
var tools = map[string]string{
	"argocd-controller":             ToolArgo,
	"argocd-application-controller": ToolArgo,
	"helm":                          ToolHelm,
	"helm-controller":               ToolFlux,
	"kustomize-controller":          ToolFlux,
}

// marks are what tells a tool that writes under another name: whoever has set the
// mark has set the rest.
var marks = []struct{ kind, key, tool string }{
	{"annotations", state.AnnotationArgoTracking, ToolArgo},
	{"annotations", state.AnnotationHelmRelease, ToolHelm},
	{"labels", state.LabelFluxKustomization, ToolFlux},
	{"labels", state.LabelFluxRelease, ToolFlux},
}

// toolOf returns the tool that a manager of the object is; empty if it is none.
func toolOf(manager string, entries []metav1.ManagedFieldsEntry) string {
	if tool := tools[manager]; tool != "" || manager == "" {
		return tool
	}
	for _, mark := range marks {
		if Holds(entries, manager, "metadata", mark.kind, mark.key) {
			return mark.tool
		}
	}
	return ""
}

// whoAndTool is Who, with the tool that it is.
func whoAndTool(entries []metav1.ManagedFieldsEntry, self string, path ...any) Manager {
	who := Who(entries, self, path...)
	who.Tool = toolOf(who.Name, entries)
	return who
}

// Declaration is what a client-side apply said of a field, which it leaves on the
// object.
type Declaration struct {
	// Applied says that there was such an apply; Declares, that the field is in it.
	// One that is not in it was only defaulted.
	Applied, Declares bool
	// Value that is declared; nil for none.
	Value *string
	// By is who applied it.
	By Manager
}

// otherThan says whether another value is declared.
func (d Declaration) otherThan(want string) bool {
	return d.Declares && (d.Value == nil || *d.Value != want)
}

// applier returns who last applied the object from the client's side.
func applier(entries []metav1.ManagedFieldsEntry) Manager {
	who := whoAndTool(entries, "", "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
	if who.Name == "" {
		who.Name = clientSideApply // its name went with what else it owned
	}
	who.Declares = true
	return who
}

// declarer returns who made a field differ, and whether it is declared elsewhere:
// with server-side apply; in what a client-side apply left on the object; or, where
// there is no such copy, by a tool, if it has put back what the operator had
// written, or if nobody would have that value by default. The first value that a
// tool has written without a trace may be a default, and is taken over once.
func (s Shared) declarer(claim plan.Claim, live *string, overwritten bool) Manager {
	by, said := s.By(claim.Field), s.declaration(claim.Field)
	switch {
	case by.Declares:
	case said.otherThan(claim.Want):
		return said.By
	case said.Applied:
	case by.Tool != "":
		by.Declares = overwritten || live == nil || *live != s.defaultOf(claim.Field)
	}
	return by
}

// conflict tells that a field is declared elsewhere, and how to end that. Taints
// have no conflictPolicy: to declare the taint there too ends the conflict as well.
func (s Shared) conflict(claim plan.Claim, by Manager, live *string) string {
	value := live
	if said := s.declaration(claim.Field); said.otherThan(claim.Want) {
		value = said.Value
	}
	switch {
	case s.Owned == nil && value == nil:
		return by.Name + " declares spec.taints without it: declare it there too, or take spec.taints out there"
	case s.Owned == nil:
		return by.Name + " declares it as " + quote(*value) + ": declare it there as here, or take it out here"
	case value == nil:
		value = new(string)
	}
	return by.Name + " declares it as " + quote(*value) +
		": take it out there; or set conflictPolicy: Override here, and have the other side ignore the field"
}

func (s Shared) declaration(field string) Declaration {
	if s.Declared == nil {
		return Declaration{}
	}
	return s.Declared(field)
}

func (s Shared) defaultOf(field string) string {
	if s.Default == nil {
		return ""
	}
	return s.Default(field)
}

// declaredElsewhere returns who keeps a whole object as it is declared elsewhere,
// in words; empty if nobody does. The operator's own objects are never applied
// from a client's side, and nobody else applies them.
func declaredElsewhere(live plan.Object) string {
	if _, applied := live.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; applied {
		return applier(live.GetManagedFields()).Name
	}
	if found := latestDeclarer(live.GetManagedFields()); found != "" {
		return found
	}
	return markOf(live)
}

// keptByTool says whether a GitOps tool keeps an object as it is declared elsewhere,
// and would put it back.
func keptByTool(live plan.Object) bool {
	return markOf(live) != "" || slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return toolOf(entry.Manager, live.GetManagedFields()) != ""
	})
}

// latestDeclarer returns the manager that declared something of an object's spec
// last, of those that declare what they write; empty if none does.
func latestDeclarer(managers []metav1.ManagedFieldsEntry) (found string) {
	var latest time.Time
	for _, entry := range managers {
		if strings.HasPrefix(entry.Manager, v1alpha1.SchemeGroupVersion.Group+"/") || entry.Subresource != "" || !writesSpec(entry) {
			continue
		}
		declares := entry.Operation == metav1.ManagedFieldsOperationApply || toolOf(entry.Manager, managers) != ""
		if when := entry.Time; declares && (found == "" || when != nil && when.After(latest)) {
			found = entry.Manager
			if when != nil {
				latest = when.Time
			}
		}
	}
	return found
}

// markOf returns the tool whose mark an object carries. Argo CD's names the object
// that it was set on, and counts for nothing on a copy.
func markOf(live plan.Object) string {
	annotations, labels := live.GetAnnotations(), live.GetLabels()
	object := ObjectOf(live)
	switch {
	case strings.HasSuffix(annotations[state.AnnotationArgoTracking], "/"+object.Kind+":"+object.Namespace+"/"+object.Name):
		return ToolArgo
	case annotations[state.AnnotationHelmRelease] != "" && labels[state.LabelManagedBy] == state.ManagedByHelm:
		return ToolHelm
	case labels[state.LabelFluxKustomization] != "" || labels[state.LabelFluxRelease] != "":
		return ToolFlux
	}
	return ""
}

func writesSpec(entry metav1.ManagedFieldsEntry) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	var set fieldpath.Set
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return false
	}
	return !set.WithPrefix(fieldpath.MakePathOrDie("spec")[0]).Empty() || set.Has(fieldpath.MakePathOrDie("spec"))
}
