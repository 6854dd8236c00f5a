// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
)

// checkForm checks the form of a data file. Errors name the field and say what to
// write.
func (l Layer) checkForm() error {
	switch {
	case len(validation.IsDNS1123Label(l.Name)) > 0:
		return fmt.Errorf("name: %q must consist of lower-case letters, digits and hyphens", l.Name)
	case l.Version < 1:
		return errors.New("version: must be 1 or more")
	case l.Title == "":
		return errors.New("title: must not be empty")
	case l.NotApplicable != "" && len(l.Components)+len(l.Flows)+len(l.Closed)+len(l.Without) > 0:
		return errors.New("notApplicable: must not be set where there are components or flows")
	}
	cited := sets.New[string]()
	if err := errors.Join(l.checkComponents(cited), l.checkFlows(cited), l.checkClosed(cited), l.checkPlugin(cited)); err != nil {
		return err
	}
	if unused := sets.KeySet(l.Sources).Difference(cited); unused.Len() > 0 {
		return fmt.Errorf("sources: nothing refers to %s: remove the source", joinWithOr(sets.List(unused)))
	}
	return nil
}

func (l Layer) checkComponents(cited sets.Set[string]) error {
	names := sets.New[string]()
	for i, c := range l.Components {
		cited.Insert(c.Sources...)
		if err := errors.Join(insertUnique(names, "component "+c.Name), c.checkForm(), checkDefined(c.Sources, l.Sources)); err != nil {
			return fmt.Errorf("components[%d] (%s): %w", i, c.Name, err)
		}
	}
	return nil
}

func (l Layer) checkFlows(cited sets.Set[string]) error {
	names := sets.New[string]()
	for i, f := range l.Flows {
		cited.Insert(f.Sources...)
		if err := errors.Join(insertUnique(names, "flow "+f.Name), f.checkForm(), f.checkSources(l.Sources)); err != nil {
			return fmt.Errorf("flows[%d] (%s): %w", i, f.Name, err)
		}
	}
	return nil
}

func (l Layer) checkClosed(cited sets.Set[string]) error {
	names := sets.New[string]()
	for i, c := range l.Closed {
		cited.Insert(c.Sources...)
		if err := errors.Join(insertUnique(names, "closed "+c.Name), checkKeys(c.Sources, l.Sources)); err != nil {
			return fmt.Errorf("closed[%d] (%s): %w", i, c.Name, err)
		}
	}
	return nil
}

func insertUnique(names sets.Set[string], name string) error {
	if names.Has(name) {
		return fmt.Errorf("name: there is another %s: choose another name", name)
	}
	names.Insert(name)
	return nil
}

func (c Component) checkForm() error {
	if len(validation.IsDNS1123Label(c.Name)) > 0 {
		return errors.New("name: must consist of lower-case letters, digits and hyphens")
	}
	if len(c.Also) > 0 {
		if !c.FromCluster {
			return errors.New("also: must be left out: write these ports under traffic")
		}
		if err := checkPorts(c.Also); err != nil {
			return fmt.Errorf("also: %w", err)
		}
	}
	for _, local := range c.Loopback {
		if !slices.Contains(c.Traffic, local) {
			return fmt.Errorf("loopback: %s must be part of traffic", local)
		}
	}
	return checkPorts(c.Traffic)
}

// checkPorts returns an error if the traffic of a component is not limited to ports:
// otherwise, a restriction of the component would restrict the whole node.
func checkPorts(traffic []Traffic) error {
	if len(traffic) == 0 {
		return errors.New("traffic: must not be empty: write the component's ports, such as tcp/2379")
	}
	for _, t := range traffic {
		if !t.HasPorts() || t.First == 0 {
			return fmt.Errorf("traffic: %s must have a port: write it as in tcp/2379", t)
		}
	}
	return nil
}

// checkForm checks the form of the flow, except for its sources.
func (f Flow) checkForm() error {
	switch {
	case len(validation.IsDNS1123Label(f.Name)) > 0:
		return errors.New("name: must consist of lower-case letters, digits and hyphens")
	case f.Layer != "":
		return errors.New("layer: must be left out, because the operator sets the field")
	case (f.Component == "") == (len(f.Traffic) == 0):
		return errors.New("must have either a component, whose ports it then has, or traffic of its own")
	case f.Unsure && f.Note == "":
		return errors.New("note: must say what to check, because the flow is unsure")
	}
	for _, prefix := range f.Destinations {
		if !prefix.IsValid() || prefix != prefix.Masked() {
			return fmt.Errorf("destinations: %s must be a network in CIDR notation without bits beyond its prefix", prefix)
		}
	}
	return f.checkRoles()
}

func (f Flow) checkRoles() error {
	if len(f.From) == 0 {
		return errors.New("from: must name at least one role")
	}
	for i, role := range f.From {
		if err := checkRole(role); err != nil {
			return fmt.Errorf("from: %w", err)
		}
		if slices.Contains(f.From[:i], role) {
			return fmt.Errorf("from: %s is listed twice", role)
		}
	}
	if err := checkRole(f.To); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if f.To == RoleSelf && len(f.From) > 1 || slices.Contains(f.From, RoleSelf) != (f.To == RoleSelf) {
		return fmt.Errorf("a flow from %v to %s: Self must be on both sides, or on none: "+
			"write ControlPlane or Nodes for what a node has to do with others", f.From, f.To)
	}
	if !f.ArrivesAtNode() && !f.LeavesNode() {
		return fmt.Errorf("a flow from %v to %s does not touch a node: write ControlPlane, Nodes or Self on one side", f.From, f.To)
	}
	return nil
}

func checkRole(role Role) error {
	if slices.Contains(roles, role) {
		return nil
	}
	words := make([]string, 0, len(roles))
	for _, r := range roles {
		words = append(words, string(r))
	}
	return fmt.Errorf("%q is no role: write %s", role, joinWithOr(words))
}

func (f Flow) checkSources(sources map[string]string) error {
	if f.Unsure && len(f.Sources) == 0 {
		return nil
	}
	return checkKeys(f.Sources, sources)
}

func checkKeys(keys []string, sources map[string]string) error {
	if len(keys) == 0 {
		return errors.New("sources: must name a document, or say unsure and what to check")
	}
	return checkDefined(keys, sources)
}

func checkDefined(keys []string, sources map[string]string) error {
	for _, key := range keys {
		if sources[key] == "" {
			return fmt.Errorf("sources: %q is not defined: write the document under the file's sources", key)
		}
	}
	return nil
}
