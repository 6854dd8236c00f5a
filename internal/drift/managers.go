// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Manager is a field manager of an object.
type Manager struct {
	// Name is the name that the manager gave; empty if unknown.
	Name string
	// Declares tells that the manager holds the field through server-side apply, and will
	// restore the field. Otherwise the manager set the field once.
	Declares bool
	// Tool is the manager's tool, such as Argo CD, if the tool is known to restore what is
	// declared elsewhere; empty for other managers.
	Tool string
}

// ManagerOf returns the manager of the field at the path, other than self. Of several managers, a
// declaring manager comes first, then the latest. A removed field has no manager.
func ManagerOf(entries []metav1.ManagedFieldsEntry, self string, path ...any) Manager {
	target, err := fieldpath.MakePath(path...)
	if err != nil {
		return Manager{}
	}
	return managerWith(entries, self, func(set *fieldpath.Set) bool { return set.Has(target) })
}

// managerWith returns the manager whose fields fulfil the condition.
func managerWith(entries []metav1.ManagedFieldsEntry, self string, has func(*fieldpath.Set) bool) Manager {
	var found Manager
	var latest time.Time
	for _, entry := range entries {
		if entry.Manager == self || entry.Subresource != "" || !entryOwns(entry, has) {
			continue
		}
		declares := entry.Operation == metav1.ManagedFieldsOperationApply
		when := time.Time{}
		if entry.Time != nil {
			when = entry.Time.Time
		}
		better := found.Name == "" || declares && !found.Declares || declares == found.Declares && when.After(latest)
		if better {
			found, latest = Manager{Name: entry.Manager, Declares: declares}, when
		}
	}
	return found
}

// HoldsField tells whether self is among the managers of the field at the path.
func HoldsField(entries []metav1.ManagedFieldsEntry, self string, path ...any) bool {
	target, err := fieldpath.MakePath(path...)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if entry.Manager == self && entryOwns(entry, func(set *fieldpath.Set) bool { return set.Has(target) }) {
			return true
		}
	}
	return false
}

func entryOwns(entry metav1.ManagedFieldsEntry, has func(*fieldpath.Set) bool) bool {
	set, readable := state.ManagedFields(entry)
	return readable && has(set)
}
