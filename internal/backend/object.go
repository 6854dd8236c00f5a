// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Object is an object that the operator creates.
type Object interface {
	metav1.Object
	runtime.Object
}

// Write stages, in the order of the writes. Removals are in the reverse order. Every prefix
// of the sequence leaves all required flows open.
const (
	StageAddresses       = iota + 1 // the objects on which rules depend, such as sets of addresses
	StageRules                      // rules, without effect until a node has their version
	StageEndpoints                  // what makes rules act on a node
	StageScopedFailsafes            // failsafe ports
)

// Traits are what an object stands for.
type Traits struct {
	// Kind is the kind of the object. An object from a cache does not contain its kind.
	Kind schema.GroupVersionKind
	// Stage is the write stage of the object.
	Stage int
	// Node is the only node that the object concerns; empty if there is no such node.
	Node string
	// Version is the version of the rules to which the object belongs; empty if the object
	// belongs to no version.
	Version string
	// Set is the name of the set of addresses of which the object is a part.
	Set string
	// Denies says that the object denies traffic. Such an object is removed before the
	// objects that allow.
	Denies bool
	// Common says that the object belongs to no policy, and is needed by all policies.
	Common bool
	// Shared says that other managers may own other fields of the object. The operator
	// creates a missing object, but manages only single fields of an existing object.
	Shared bool
	// NeedsCreate says that an API server may refuse to create the object by a server-side
	// apply.
	NeedsCreate bool
}

// Kinds are the kinds of a backend.
type Kinds interface {
	// Names are the names of the kinds that the operator writes.
	Names() []string
	// Traits returns what an object stands for, and false for an object of another backend.
	Traits(Object) (Traits, bool)
	// Content returns the fields of an object that the operator writes.
	Content(Object) (map[string]any, error)
	// HasNameFor tells whether an object has a name that the operator gives to objects of
	// the policy. The same name may belong to another policy with a longer name.
	HasNameFor(object Object, policy string) bool
	// Merge returns an object that allows all traffic of the live and of the desired
	// object, and tells whether the desired object allows more, and less, than the live
	// object. For objects without allowed traffic, merged is nil.
	Merge(desired, live Object) (merged Object, adds, drops bool)
}

// registered are the kinds of all backends. The kinds are registered while the program
// starts, and never change.
var registered []Kinds

// Register makes the kinds of a backend known. Only the init function of a backend may call
// Register.
func Register(kinds Kinds) { registered = append(registered, kinds) }

// KindsOf returns the kinds of the backend of an object, and false if the object belongs to
// no backend.
func KindsOf(object Object) (Kinds, bool) {
	for _, kinds := range registered {
		if _, ours := kinds.Traits(object); ours {
			return kinds, true
		}
	}
	return nil, false
}

// TraitsOf returns the traits of an object. An object that belongs to no backend has no
// traits.
func TraitsOf(object Object) Traits {
	for _, kinds := range registered {
		if traits, ours := kinds.Traits(object); ours {
			return traits
		}
	}
	return Traits{}
}

// KindNames returns the names of the kinds of all backends.
func KindNames() []string {
	var names []string
	for _, kinds := range registered {
		names = append(names, kinds.Names()...)
	}
	return names
}

// IsWrittenByOperator tells whether the operator has written the live object.
func IsWrittenByOperator(live Object) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == v1alpha1.FieldManagerNetwork
	})
}
