// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// store holds what is kept of the objects of one kind, by name. A reflector
// fills it. It is guarded by the Follower's lock, which its writing methods take
// and its reading ones expect to be held.
type store[T any] struct {
	*progress
	keep func(any) (T, bool)
	// told says that a change of these objects is one of what Read returns.
	told bool
	// hook is called after each change, under the lock.
	hook func()

	// complete says that it has held everything once. What it holds may be of
	// some time ago: the progress tells.
	complete bool
	objects  map[string]entry[T]
	sorted   []T // nil when it is to be made again
}

// entry is what is kept of an object of some version.
type entry[T any] struct {
	version string
	value   T
}

// Add is the reflector's.
func (s *store[T]) Add(object any) error { return s.Update(object) }

// Update is the reflector's.
func (s *store[T]) Update(object any) error {
	s.change(func() bool { return s.changed(s.put(s.objects, object)) })
	return nil
}

// Delete is the reflector's.
func (s *store[T]) Delete(object any) error {
	s.change(func() bool {
		name := object.(client.Object).GetName()
		_, found := s.objects[name]
		delete(s.objects, name)
		return s.changed(found)
	})
	return nil
}

// Replace is the reflector's: it has listed everything.
func (s *store[T]) Replace(list []any, _ string) error {
	s.change(func() bool {
		replaced := make(map[string]entry[T], len(list))
		for _, object := range list {
			s.put(replaced, object)
		}
		same := maps.EqualFunc(s.objects, replaced, func(a, b entry[T]) bool { return a.version == b.version })
		s.objects, s.complete = replaced, true
		s.hasListed()
		return s.changed(!same)
	})
	return nil
}

// Resync is the reflector's, which is told never to do so.
func (s *store[T]) Resync() error { return nil }

// put says whether the object was not there in this version.
func (s *store[T]) put(objects map[string]entry[T], object any) bool {
	value, kept := s.keep(object)
	if !kept {
		return false
	}
	o := object.(client.Object)
	before, found := objects[o.GetName()]
	objects[o.GetName()] = entry[T]{version: o.GetResourceVersion(), value: value}
	return !found || before.version != o.GetResourceVersion()
}

// changed says whether there is a change to tell of.
func (s *store[T]) changed(changed bool) bool {
	if !changed {
		return false
	}
	s.sorted = nil
	if s.hook != nil {
		s.hook()
	}
	return s.told
}

func (s *store[T]) get(name string) (T, bool) {
	e, found := s.objects[name]
	return e.value, found
}

// list returns everything, sorted by name. What it has returned once is never
// written to again.
func (s *store[T]) list() []T {
	if s.sorted == nil {
		s.sorted = make([]T, 0, len(s.objects))
		for _, name := range slices.Sorted(maps.Keys(s.objects)) {
			s.sorted = append(s.sorted, s.objects[name].value)
		}
	}
	return s.sorted
}
