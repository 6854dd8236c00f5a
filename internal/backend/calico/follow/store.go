// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"maps"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// store holds the kept parts of all objects of a kind, by name. A reflector fills the
// store. The lock of the Follower guards the store: methods that write take the lock,
// and callers of methods that read hold the lock.
type store[T any] struct {
	*progress
	keep func(any) (T, bool)
	// told says whether a change of the objects changes the result of Read.
	told bool
	// hook is called after each change, under the lock.
	hook func()

	// complete says whether the store has held all objects once. The objects may be
	// old: see progress.
	complete bool
	objects  map[string]entry[T]
	bytes    int64 // the sum of the sizes
	sorted   []T   // nil if outdated
}

// entry is the kept part of an object, with the version of the object, and the memory
// that the object takes if the kind has a share.
type entry[T any] struct {
	version string
	value   T
	size    int64
}

// Add implements cache.ReflectorStore.
func (s *store[T]) Add(object any) error { return s.Update(object) }

// Update implements cache.ReflectorStore. If the objects do not fit any more, the kind
// is read anew.
func (s *store[T]) Update(object any) error {
	s.change(func() bool {
		name := object.(client.Object).GetName()
		before := s.objects[name].size
		changed := s.putObject(s.objects, object)
		if s.bytes += s.objects[name].size - before; s.bytes > s.share && s.share > 0 && !s.switched {
			s.setTooLarge(&tooLarge{amount: s.total()}, s.ownOnly)
		}
		return s.noteChange(changed)
	})
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *store[T]) Delete(object any) error {
	s.change(func() bool {
		name := object.(client.Object).GetName()
		gone, found := s.objects[name]
		s.bytes -= gone.size
		delete(s.objects, name)
		return s.noteChange(found)
	})
	return nil
}

// Replace implements cache.ReflectorStore: the reflector has listed all objects.
func (s *store[T]) Replace(list []any, _ string) error {
	s.change(func() bool {
		replaced := make(map[string]entry[T], len(list))
		for _, object := range list {
			s.putObject(replaced, object)
		}
		same := maps.EqualFunc(s.objects, replaced, func(a, b entry[T]) bool { return a.version == b.version })
		s.objects, s.complete = replaced, true
		s.bytes = s.total().bytes
		s.setListed()
		return s.noteChange(!same)
	})
	return nil
}

// Resync implements cache.ReflectorStore. The reflector never resyncs.
func (s *store[T]) Resync() error { return nil }

// putObject stores an object, and says whether the version of the object is new.
func (s *store[T]) putObject(objects map[string]entry[T], object any) bool {
	o := object.(client.Object)
	before, found := objects[o.GetName()]
	value, kept := s.keep(object)
	if !kept {
		delete(objects, o.GetName())
		return found
	}
	stored := entry[T]{version: o.GetResourceVersion(), value: value}
	if s.share > 0 {
		stored.size = sizeOf(o)
	}
	objects[o.GetName()] = stored
	return !found || before.version != o.GetResourceVersion()
}

// total returns how much the store has.
func (s *store[T]) total() (all amount) {
	for name, stored := range s.objects {
		all.add(name, stored.size)
	}
	return all
}

// noteChange notes a change of the store, and says whether to report the change.
func (s *store[T]) noteChange(noteChange bool) bool {
	if !noteChange {
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

// list returns all entries, sorted by name. A returned list is never changed.
func (s *store[T]) list() []T {
	if s.sorted == nil {
		s.sorted = make([]T, 0, len(s.objects))
		for _, name := range slices.Sorted(maps.Keys(s.objects)) {
			s.sorted = append(s.sorted, s.objects[name].value)
		}
	}
	return s.sorted
}
