// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed data
var data embed.FS

// Layer is a data file: what one distribution, CNI or add-on adds to the
// matrix, or what is common to all.
type Layer struct {
	// Name of the file, without its ending.
	Name string `json:"name"`
	// Version is raised whenever the file calls for something else than before.
	Version int `json:"version"`
	// Title is the name that people use.
	Title string `json:"title"`
	Note  string `json:"note,omitempty"`

	// Sources are the documents that the data is from, by the key that flows
	// refer to.
	Sources map[string]string `json:"sources,omitempty"`

	// NotApplicable says why the cluster has no control-plane nodes.
	NotApplicable string `json:"notApplicable,omitempty"`

	// NetworkPolicies and PodNetworks are what is known of pods; of CNIs only.
	NetworkPolicies *NetworkPolicies `json:"networkPolicies,omitempty"`
	PodNetworks     *PodNetworks     `json:"podNetworks,omitempty"`

	// Without are the names of components and flows of earlier layers that do
	// not exist here.
	Without []string `json:"without,omitempty"`

	// Components, Flows and Closed are added, or replace those of the same
	// name.
	Components []Component `json:"components,omitempty"`
	Flows      []Flow      `json:"flows,omitempty"`
	Closed     []Closed    `json:"closed,omitempty"`
}

// Library is all data files.
type Library struct {
	base                        Layer
	distributions, cnis, addOns map[string]Layer
	// plugins are CNIs, and what enforces NetworkPolicies beside one, of which
	// the flows between nodes are not known.
	plugins map[string]Layer
}

// Load reads the data files that are built in, and holds each to its form.
func Load() (Library, error) {
	var library Library
	base, err := read("data/base.yaml")
	if err != nil {
		return Library{}, err
	}
	library.base = base
	for folder, layers := range map[string]*map[string]Layer{
		"data/distributions": &library.distributions,
		"data/cnis":          &library.cnis,
		"data/addons":        &library.addOns,
		"data/plugins":       &library.plugins,
	} {
		if *layers, err = readAll(folder); err != nil {
			return Library{}, err
		}
	}
	return library, library.checkPlugins()
}

// checkPlugins holds CNIs to saying what NetworkPolicies and pods are with them.
func (l Library) checkPlugins() error {
	for _, layers := range []map[string]Layer{l.cnis, l.plugins} {
		for name, layer := range layers {
			if layer.NetworkPolicies == nil {
				return fmt.Errorf("%s: networkPolicies: must be there", name)
			}
		}
	}
	for name, layer := range l.plugins {
		if _, taken := l.cnis[name]; taken || len(layer.Components)+len(layer.Flows) > 0 {
			return fmt.Errorf("%s: a plugin with flows is a CNI, and is one of either", name)
		}
	}
	return nil
}

// plugin returns a CNI, or a plugin without flows.
func (l Library) plugin(name string) (Layer, bool) {
	if layer, ok := l.cnis[name]; ok {
		return layer, true
	}
	layer, ok := l.plugins[name]
	return layer, ok
}

func readAll(folder string) (map[string]Layer, error) {
	entries, err := data.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("reading the built-in profiles: %w", err)
	}
	layers := map[string]Layer{}
	for _, entry := range entries {
		layer, err := read(path.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		layers[layer.Name] = layer
	}
	return layers, nil
}

func read(file string) (Layer, error) {
	text, err := data.ReadFile(file)
	if err != nil {
		return Layer{}, fmt.Errorf("reading the built-in profiles: %w", err)
	}
	layer, err := parse(text)
	if err == nil && path.Base(file) != layer.Name+".yaml" {
		err = fmt.Errorf("name: %q must be the file's", layer.Name)
	}
	if err != nil {
		return Layer{}, fmt.Errorf("%s: %w", strings.TrimPrefix(file, "data/"), err)
	}
	return layer, nil
}

// parse reads a data file. Fields that there are not, and fields that are there
// twice, are errors.
func parse(text []byte) (Layer, error) {
	var layer Layer
	if err := yaml.UnmarshalStrict(text, &layer); err != nil {
		return Layer{}, err
	}
	return layer, layer.check()
}

// Distributions returns the names of all distributions, sorted.
func (l Library) Distributions() []string { return slices.Sorted(maps.Keys(l.distributions)) }

// CNIs returns the names of all CNIs, sorted.
func (l Library) CNIs() []string { return slices.Sorted(maps.Keys(l.cnis)) }

// AddOns returns the names of all add-ons, sorted.
func (l Library) AddOns() []string { return slices.Sorted(maps.Keys(l.addOns)) }

// either returns the words as "a, b or c".
func either(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// and returns the words as "a, b and c".
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
