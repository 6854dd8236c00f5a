// SPDX-License-Identifier: Apache-2.0

package drift

import "iter"

// pasts are the remembered objects by kind: after each reconciliation, a policy asks for all
// objects of a few kinds that have few objects.
type pasts map[string]map[Object]*past

func (p pasts) get(object Object) *past { return p[object.Kind][object] }

func (p pasts) put(object Object, one *past) {
	if p[object.Kind] == nil {
		p[object.Kind] = map[Object]*past{}
	}
	p[object.Kind][object] = one
}

func (p pasts) remove(object Object) { delete(p[object.Kind], object) }

func (p pasts) count() int {
	count := 0
	for _, objects := range p {
		count += len(objects)
	}
	return count
}

// all returns all objects, which may be removed meanwhile.
func (p pasts) all() iter.Seq2[Object, *past] {
	return func(yield func(Object, *past) bool) {
		for _, objects := range p {
			for object, one := range objects {
				if !yield(object, one) {
					return
				}
			}
		}
	}
}
