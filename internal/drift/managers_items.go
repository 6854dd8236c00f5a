// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// ManagerOfAdded is ManagerOf for unexpected items of a list. In a set or a map, every
// item has its own managers, so the manager of the list or of other items may not have
// added the unexpected items. An atomic list has managers only as a whole.
func ManagerOfAdded(entries []metav1.ManagedFieldsEntry, self string, added []any, path ...any) Manager {
	list, err := fieldpath.MakePath(path...)
	if err != nil {
		return Manager{}
	}
	byItem := func(set *fieldpath.Set) bool { return len(itemsAt(set, list)) > 0 }
	if managerWith(entries, "", byItem).Name == "" {
		return ManagerOf(entries, self, path...)
	}
	return managerOfItem(entries, self, added, list)
}

// managerOfItem returns the manager of any of the items in a list that is a set or a map.
func managerOfItem(entries []metav1.ManagedFieldsEntry, self string, items []any, list fieldpath.Path) Manager {
	return managerWith(entries, self, func(set *fieldpath.Set) bool {
		return slices.ContainsFunc(itemsAt(set, list), func(element fieldpath.PathElement) bool {
			return slices.ContainsFunc(items, func(item any) bool { return isItem(element, item) })
		})
	})
}

// ForeignPartRemains tells whether a server-side apply of the desired object would leave a foreign
// part in the live object: an item in a managed list, or a label.
func ForeignPartRemains(desired, live plan.Object) bool {
	if len(foreignLabels(Finding{}, desired, live)) > 0 {
		return true
	}
	if !othersHoldItems(live.GetManagedFields()) {
		return false
	}
	want, errWant := plan.SpecFields(desired)
	is, errIs := plan.SpecFields(live)
	if errWant != nil || errIs != nil {
		return false
	}
	for name, actual := range is {
		list := fieldpath.MakePathOrDie("spec", name)
		if managerOfItem(live.GetManagedFields(), v1alpha1.FieldManagerNetwork, addedItems(want[name], actual), list).Name != "" {
			return true
		}
	}
	return false
}

// othersHoldItems tells whether another manager holds single items of a list in the spec. No
// list of a NetworkPolicy has such items, and the comparison of all items takes long.
func othersHoldItems(entries []metav1.ManagedFieldsEntry) bool {
	other := managerWith(entries, v1alpha1.FieldManagerNetwork, func(set *fieldpath.Set) (holds bool) {
		for path := range set.WithPrefix(specElement).All() { // All cannot be left early: the library goes on, and Go panics
			holds = holds || len(path) > 1 && (path[1].Key != nil || path[1].Value != nil)
		}
		return holds
	})
	return other.Name != ""
}

var specElement = fieldpath.PathElement{FieldName: ptr.To("spec")}

// itemsAt returns the items of a list that a set of fields contains individually.
func itemsAt(set *fieldpath.Set, list fieldpath.Path) []fieldpath.PathElement {
	for _, element := range list {
		set = set.WithPrefix(element)
	}
	var items []fieldpath.PathElement
	for path := range set.All() {
		if first := path[0]; first.Value != nil || first.Key != nil {
			items = append(items, first)
		}
	}
	return items
}

// isItem tells whether an element of a path identifies the item: by the value in a set, by
// the keys in a map.
func isItem(element fieldpath.PathElement, item any) bool {
	if element.Value != nil {
		return value.Equals(*element.Value, value.NewValueInterface(item))
	}
	fields, object := item.(map[string]any)
	if !object || element.Key == nil {
		return false
	}
	for _, key := range *element.Key {
		is, there := fields[key.Name]
		if !there || !value.Equals(key.Value, value.NewValueInterface(is)) {
			return false
		}
	}
	return true
}
