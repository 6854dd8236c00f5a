// SPDX-License-Identifier: Apache-2.0

package state

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Marks that tools leave on the objects that they keep as declared elsewhere. The
// label app.kubernetes.io/instance is none: Argo CD can be told to track by it, but
// people and charts set it everywhere.
const (
	// AnnotationArgoTracking is Argo CD's: <application>:<group>/<kind>:<namespace>/<name>.
	AnnotationArgoTracking = "argocd.argoproj.io/tracking-id"
	// AnnotationHelmRelease is Helm's, beside the label LabelManagedBy.
	AnnotationHelmRelease = "meta.helm.sh/release-name"
	// LabelManagedBy has the value ManagedByHelm on the objects of a release.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedByHelm  = "Helm"
	// LabelFluxKustomization and LabelFluxRelease are Flux's.
	LabelFluxKustomization = "kustomize.toolkit.fluxcd.io/name"
	LabelFluxRelease       = "helm.toolkit.fluxcd.io/name"
)

// markPaths are where managers tell that they are such a tool.
var markPaths = []fieldpath.Path{
	fieldpath.MakePathOrDie("metadata", "annotations", AnnotationArgoTracking),
	fieldpath.MakePathOrDie("metadata", "annotations", AnnotationHelmRelease),
	fieldpath.MakePathOrDie("metadata", "labels", LabelFluxKustomization),
	fieldpath.MakePathOrDie("metadata", "labels", LabelFluxRelease),
}

var lastAppliedPath = fieldpath.MakePathOrDie("metadata", "annotations", corev1.LastAppliedConfigAnnotation)

// concerned returns what of the fields that a manager owns concerns the paths: the
// paths themselves and, beside them, the marks; nothing where it owns no path.
func concerned(owned *fieldpath.Set, paths []fieldpath.Path) *fieldpath.Set {
	common := &fieldpath.Set{}
	for _, path := range paths {
		if owned.Has(path) {
			common.Insert(path)
		}
	}
	if common.Empty() {
		return common
	}
	for _, mark := range markPaths {
		if owned.Has(mark) {
			common.Insert(mark)
		}
	}
	return common
}
