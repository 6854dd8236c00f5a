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

// Layer is a data file: the additions of a distribution, CNI or add-on to the matrix, or
// the common part of all clusters.
type Layer struct {
	// Name of the file, without its extension.
	Name string `json:"name"`
	// Version is raised whenever the file calls for something else than before.
	Version int `json:"version"`
	// Title is the name that people use.
	Title string `json:"title"`
	Note  string `json:"note,omitempty"`

	// Sources are the documents behind the data, by the key to which flows refer.
	Sources map[string]string `json:"sources,omitempty"`

	// NotApplicable says why the cluster has no control-plane nodes.
	NotApplicable string `json:"notApplicable,omitempty"`

	// NetworkPolicies and PodNetworks describe pods; set only for CNIs and plugins.
	NetworkPolicies *NetworkPolicies `json:"networkPolicies,omitempty"`
	PodNetworks     *PodNetworks     `json:"podNetworks,omitempty"`

	// Without are the names of components and flows of earlier layers that do not exist
	// here.
	Without []string `json:"without,omitempty"`

	// Components, Flows and Closed are added, or replace items of the same name.
	Components []Component `json:"components,omitempty"`
	Flows      []Flow      `json:"flows,omitempty"`
	Closed     []Closed    `json:"closed,omitempty"`
}

// Library is the set of all data files.
type Library struct {
	base                        Layer
	distributions, cnis, addOns map[string]Layer
	// plugins are the plugins whose flows between nodes are not known: CNIs, and
	// plugins that enforce NetworkPolicies beside a CNI.
	plugins map[string]Layer
}

// LoadLibrary reads the built-in data files, and checks the form of each file.
func LoadLibrary() (Library, error) {
	var library Library
	base, err := readLayer("data/base.yaml")
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

// checkPlugins checks that the files of all CNIs and plugins describe NetworkPolicies,
// and that no file of a plugin has flows.
func (l Library) checkPlugins() error {
	for _, layers := range []map[string]Layer{l.cnis, l.plugins} {
		for name, layer := range layers {
			if layer.NetworkPolicies == nil {
				return fmt.Errorf("%s: networkPolicies: must be set", name)
			}
		}
	}
	for name, layer := range l.plugins {
		if _, taken := l.cnis[name]; taken || len(layer.Components)+len(layer.Flows) > 0 {
			return fmt.Errorf("%s: must be either a CNI with flows or a plugin without flows", name)
		}
	}
	return nil
}

// findPlugin returns a CNI, or a plugin without flows.
func (l Library) findPlugin(name string) (Layer, bool) {
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
		layer, err := readLayer(path.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		layers[layer.Name] = layer
	}
	return layers, nil
}

func readLayer(file string) (Layer, error) {
	text, err := data.ReadFile(file)
	if err != nil {
		return Layer{}, fmt.Errorf("reading the built-in profiles: %w", err)
	}
	layer, err := parseLayer(text)
	if err == nil && path.Base(file) != layer.Name+".yaml" {
		err = fmt.Errorf("name: %q must be the name of the file", layer.Name)
	}
	if err != nil {
		return Layer{}, fmt.Errorf("%s: %w", strings.TrimPrefix(file, "data/"), err)
	}
	return layer, nil
}

// parseLayer reads a data file. Unknown fields and duplicate fields are errors.
func parseLayer(text []byte) (Layer, error) {
	var layer Layer
	if err := yaml.UnmarshalStrict(text, &layer); err != nil {
		return Layer{}, err
	}
	return layer, layer.checkForm()
}

// DistributionNames returns the names of all distributions, sorted.
func (l Library) DistributionNames() []string { return slices.Sorted(maps.Keys(l.distributions)) }

// CNINames returns the names of all CNIs, sorted.
func (l Library) CNINames() []string { return slices.Sorted(maps.Keys(l.cnis)) }

// AddOnNames returns the names of all add-ons, sorted.
func (l Library) AddOnNames() []string { return slices.Sorted(maps.Keys(l.addOns)) }

// joinWithOr returns the words as "a, b or c".
func joinWithOr(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// joinWithAnd returns the words as "a, b and c".
func joinWithAnd(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
