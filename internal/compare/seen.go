// SPDX-License-Identifier: Apache-2.0

package compare

// seen remembers the objects of a kind in the cache. A cached object never changes, and a
// changed object is another one: so an object that was seen before is known by its place in
// memory, without a look at the object. The zero value has seen none.
type seen[K, T comparable] struct {
	known map[T]bool
	byKey map[K]T
}

// look compares the objects in the cache with those seen before, calls changed with the key
// of each object that has come, changed or gone, and remembers the objects.
func (s *seen[K, T]) look(objects []T, key func(T) K, changed func(K)) {
	if s.known == nil {
		s.known, s.byKey = make(map[T]bool, len(objects)), make(map[K]T, len(objects))
	}
	for _, object := range objects {
		if s.known[object] {
			continue
		}
		k := key(object)
		if before, there := s.byKey[k]; there {
			delete(s.known, before)
		}
		s.known[object], s.byKey[k] = true, object
		changed(k)
	}
	if len(s.byKey) > len(objects) {
		s.forgetGone(objects, key, changed)
	}
}

func (s *seen[K, T]) forgetGone(objects []T, key func(T) K, changed func(K)) {
	there := make(map[K]bool, len(objects))
	for _, object := range objects {
		there[key(object)] = true
	}
	for k, object := range s.byKey {
		if !there[k] {
			delete(s.known, object)
			delete(s.byKey, k)
			changed(k)
		}
	}
}
