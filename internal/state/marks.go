// SPDX-License-Identifier: Apache-2.0

package state

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Marks of tools on objects that are declared outside of the cluster. The label
// app.kubernetes.io/instance is not a mark: Argo CD can be configured to track by the
// label, but people and charts set the label everywhere.
const (
	// AnnotationArgoTracking is set by Argo CD:
	// <application>:<group>/<kind>:<namespace>/<name>.
	AnnotationArgoTracking = "argocd.argoproj.io/tracking-id"
	// AnnotationHelmRelease is set by Helm, beside the label LabelManagedBy.
	AnnotationHelmRelease = "meta.helm.sh/release-name"
	// LabelManagedBy has the value ManagedByHelm on the objects of a release.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedByHelm  = "Helm"
	// LabelFluxKustomization and LabelFluxRelease are set by Flux.
	LabelFluxKustomization = "kustomize.toolkit.fluxcd.io/name"
	LabelFluxRelease       = "helm.toolkit.fluxcd.io/name"
)

// markPaths are the fields by which a manager shows to be such a tool.
var markPaths = []fieldpath.Path{
	fieldpath.MakePathOrDie("metadata", "annotations", AnnotationArgoTracking),
	fieldpath.MakePathOrDie("metadata", "annotations", AnnotationHelmRelease),
	fieldpath.MakePathOrDie("metadata", "labels", LabelFluxKustomization),
	fieldpath.MakePathOrDie("metadata", "labels", LabelFluxRelease),
}

var lastAppliedPath = fieldpath.MakePathOrDie("metadata", "annotations", corev1.LastAppliedConfigAnnotation)

// concernedFields returns the owned fields among the paths, and the owned marks beside;
// an empty set if the manager owns none of the paths.
func concernedFields(owned *fieldpath.Set, paths []fieldpath.Path) *fieldpath.Set {
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
