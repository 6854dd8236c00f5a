// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Parse is parseLayer, for tests with invalid files.
var Parse = parseLayer

// Merge puts a layer with these fields on top of the layer that is common to all.
func Merge(fields string) error {
	library, err := LoadLibrary()
	if err != nil {
		return err
	}
	layer, err := parseLayer([]byte("name: x\nversion: 1\ntitle: X\n" + fields + "\n"))
	if err != nil {
		return err
	}
	m := newMatrix()
	if err := m.addLayer(library.base); err != nil {
		return err
	}
	return m.addLayer(layer)
}

// DaemonSets returns the names of the DaemonSets that Detect looks for, sorted.
func DaemonSets() []types.NamespacedName { return sortedNames(daemonSets) }

// Layers returns all data files with flows: first the common one, then
// distributions, CNIs and add-ons, each sorted by name.
func (l Library) Layers() []Layer {
	layers := []Layer{l.base}
	for _, more := range []map[string]Layer{l.distributions, l.cnis, l.addOns} {
		for _, name := range slices.Sorted(maps.Keys(more)) {
			layers = append(layers, more[name])
		}
	}
	return layers
}

// Plugins returns the data on pods with each CNI and with each NetworkPolicy
// controller, sorted by name; CNIs with flows come first.
func (l Library) Plugins() []Layer {
	var layers []Layer
	for _, more := range []map[string]Layer{l.cnis, l.plugins} {
		for _, name := range slices.Sorted(maps.Keys(more)) {
			layers = append(layers, more[name])
		}
	}
	return layers
}

// RequiredAt returns the flows that a restriction of the component must let through: all
// required flows that arrive at a protected node and can have a port of the component,
// whether or not the flow names the component.
func (p Profile) RequiredAt(component string) []Flow {
	c, _ := p.FindComponent(component)
	return slices.DeleteFunc(p.RequiredFlows(), func(f Flow) bool {
		return !f.ArrivesAtNode() || !anyOverlaps(f.Traffic, c.Traffic)
	})
}
