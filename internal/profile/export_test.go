// SPDX-License-Identifier: Apache-2.0

package profile

// Parse is parse: tests hand it files that are wrong.
var Parse = parse

// Merge puts a layer with these fields on top of the one that is common to all.
func Merge(fields string) error {
	library, err := Load()
	if err != nil {
		return err
	}
	layer, err := parse([]byte("name: x\nversion: 1\ntitle: X\n" + fields + "\n"))
	if err != nil {
		return err
	}
	m := newMatrix()
	if err := m.add(library.base); err != nil {
		return err
	}
	return m.add(layer)
}
