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

// Annotations, labels and names of managers show that an object is declared elsewhere. Any
// writer of the object can set these signs. A false sign makes the operator leave a field
// of the object alone, or an object of the same name, and report the reason. A false sign
// never makes the operator write a value, release a field or delete an object. On Nodes, a
// sign counts only with a proof, because kubelets may write signs, but not taints.

// Tools that keep objects as declared elsewhere.
const (
	ToolArgo = "Argo CD"
	ToolFlux = "Flux"
	ToolHelm = "Helm"
)

// tools maps managers' names to tools. A value from such a manager is mostly declared
// elsewhere, although the operation is not Apply: Argo CD writes client-side by default,
// and Helm before version 4 patches.
var tools = map[string]string{
	"argocd-controller":             ToolArgo,
	"argocd-application-controller": ToolArgo,
	"helm":                          ToolHelm,
	"helm-controller":               ToolFlux,
	"kustomize-controller":          ToolFlux,
}

// marks identify a tool that writes under another name: the manager of the mark has written
// the rest of the object too.
var marks = []struct{ kind, key, tool string }{
	{"annotations", state.AnnotationArgoTracking, ToolArgo},
	{"annotations", state.AnnotationHelmRelease, ToolHelm},
	{"labels", state.LabelFluxKustomization, ToolFlux},
	{"labels", state.LabelFluxRelease, ToolFlux},
}

// toolOf returns the tool behind a manager of the object; empty if the manager is no tool.
func toolOf(manager string, entries []metav1.ManagedFieldsEntry) string {
	if tool := tools[manager]; tool != "" || manager == "" {
		return tool
	}
	for _, mark := range marks {
		if HoldsField(entries, manager, "metadata", mark.kind, mark.key) {
			return mark.tool
		}
	}
	return ""
}

// managerAndTool is ManagerOf with the manager's tool.
func managerAndTool(entries []metav1.ManagedFieldsEntry, self string, path ...any) Manager {
	who := ManagerOf(entries, self, path...)
	who.Tool = toolOf(who.Name, entries)
	return who
}

// Declaration is the content of a client-side apply for one field, as recorded on the
// object.
type Declaration struct {
	// Applied tells that the object records a client-side apply; Declares, that the apply
	// contains the field. An applied object without the field has the field's default.
	Applied, Declares bool
	// Value is the declared value; nil for none.
	Value *string
	// By is the manager of the client-side apply.
	By Manager
}

// otherThan tells whether another value is declared.
func (d Declaration) otherThan(want string) bool {
	return d.Declares && (d.Value == nil || *d.Value != want)
}

// lastApplier returns the manager of the last client-side apply.
func lastApplier(entries []metav1.ManagedFieldsEntry) Manager {
	who := managerAndTool(entries, "", "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
	if who.Name == "" {
		who.Name = clientSideApply // the manager's entry is gone with its other fields
	}
	who.Declares = true
	return who
}

// declaringManager returns the manager behind a field's difference, and whether the field is
// declared elsewhere. A field is declared elsewhere by server-side apply, or by the content
// of a client-side apply on the object.
//
// Without a recorded client-side apply, a tool's value counts as declared if the tool has
// replaced the operator's value, or if the value is not the default. The first value from a
// tool may be a default that the tool does not declare, so the operator overwrites the
// default once.
func (s Shared) declaringManager(claim plan.Claim, live *string, overwritten bool) Manager {
	by, said := s.By(claim.Field), s.declarationOf(claim.Field)
	switch {
	case by.Declares:
		by.Declares = s.isDecided(claim, live, live)
	case said.otherThan(claim.Want) && s.isDecided(claim, live, said.Value):
		return said.By
	case said.Applied:
	case by.Tool != "":
		by.Declares = s.isDecided(claim, live, live) && (overwritten || live == nil || *live != s.defaultOf(claim.Field))
	}
	return by
}

// isDecided tells whether a writer with the right to the field has decided on the value
// declared by the signs on the object. On an object with forgeable signs, only the value of
// the field proves the decision: the field has the declared value, or another writer has
// reverted the operator's write.
func (s Shared) isDecided(claim plan.Claim, live, declared *string) bool {
	if !s.ForgeableSigns {
		return true
	}
	return s.wroteFor(claim) || live != nil && equalValues(live, declared)
}

// describeConflict tells that a field is declared elsewhere, and how to end the conflict. Taints
// have no conflictPolicy; a declaration of the same taint on the other side ends the
// conflict as well.
func (s Shared) describeConflict(claim plan.Claim, by Manager, live *string) string {
	value := live
	if said := s.declarationOf(claim.Field); said.otherThan(claim.Want) {
		value = said.Value
	}
	switch {
	case s.Owned == nil && value == nil:
		return by.Name + " declares spec.taints without it: declare it there too, or remove spec.taints there"
	case s.Owned == nil:
		return by.Name + " declares it as " + quoteValue(*value) + ": declare the same value there, or remove the taint here"
	case value == nil:
		value = new(string)
	}
	return by.Name + " declares it as " + quoteValue(*value) +
		": remove the field there; or set conflictPolicy: Override here, and have the other manager ignore the field"
}

func (s Shared) declarationOf(field string) Declaration {
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

// declaredElsewhere names the manager or tool that keeps the whole object as declared
// elsewhere; empty if there is none. Managed objects are never applied client-side, and no
// other manager applies a managed object.
func declaredElsewhere(live plan.Object) string {
	if _, applied := live.GetAnnotations()[corev1.LastAppliedConfigAnnotation]; applied {
		return lastApplier(live.GetManagedFields()).Name
	}
	if found := latestDeclarer(live.GetManagedFields()); found != "" {
		return found
	}
	return markOf(live)
}

// keptByTool tells whether a GitOps tool keeps an object as declared elsewhere, and would
// restore a deleted object.
func keptByTool(live plan.Object) bool {
	return markOf(live) != "" || slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return toolOf(entry.Manager, live.GetManagedFields()) != ""
	})
}

// latestDeclarer returns the latest manager that declares a part of the object's spec;
// empty if there is none.
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

// markOf returns the tool whose mark an object carries. Argo CD's mark names the marked
// object, so the mark does not count on a copy.
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
	set, readable := state.ManagedFields(entry)
	if !readable {
		return false
	}
	return !set.WithPrefix(fieldpath.MakePathOrDie("spec")[0]).Empty() || set.Has(fieldpath.MakePathOrDie("spec"))
}
