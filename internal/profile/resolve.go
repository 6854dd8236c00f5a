// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Components for which Overrides have separate fields.
const (
	ComponentAPIServer = "kube-apiserver"
	ComponentNodePorts = "node-ports"
	ComponentKubelet   = "kubelet"
)

// Overrides describe a cluster beyond the distribution and the CNI.
type Overrides struct {
	// APIServerPorts are the ports of the API servers, as in the EndpointSlice of the
	// Service default/kubernetes (Detection.APIServerPorts). At least one port is
	// needed, because the port of the API server cannot be assumed. Ports of a load
	// balancer on the same nodes belong here too.
	APIServerPorts []uint16

	// KubeletPorts are the ports that kubelets report. 0 is for kubelets that report no
	// port and so have the port of the profile. KubeletPorts is empty if no node is
	// known.
	KubeletPorts []uint16

	// NodePorts is the range of node ports, if other than 30000 to 32767.
	NodePorts PortRange

	// Components are ports of other components, by name, if other than in the profile.
	// Required flows may use the ports of the profile as well: a wrong setting must not cut
	// a component that listens at the usual port.
	Components map[string][]Traffic

	// AddOns are names of add-ons whose flows are needed too.
	AddOns []string

	// Flows are further flows. Further flows need no sources.
	Flows []Flow
}

// PortRange is the ports from First to Last. The zero value means that no range is
// given.
type PortRange struct{ First, Last uint16 }

var library = sync.OnceValues(LoadLibrary)

// Resolve returns the profile of a cluster of the distribution with the CNI. An error is
// about an unknown name, or about overrides that contradict each other or the profile, and
// says how to correct the policy.
func Resolve(distribution, cni string, overrides Overrides) (Profile, error) {
	l, err := library()
	if err != nil {
		return Profile{}, err
	}
	return l.Resolve(distribution, cni, overrides)
}

// NotApplicable says why clusters of the distribution have no hosts to protect,
// whatever the CNI is; empty if there are such hosts.
func NotApplicable(distribution string) string {
	l, err := library()
	if err != nil {
		return "" // Resolve returns the error
	}
	return l.distributions[distribution].NotApplicable
}

// ResolveComponents returns the components of the profile of a distribution, whatever the
// CNI is. Add-ons and flows of the overrides do not matter.
func ResolveComponents(distribution string, overrides Overrides) ([]Component, error) {
	l, err := library()
	if err != nil {
		return nil, err
	}
	overrides.AddOns, overrides.Flows = nil, nil
	layers, err := l.layersOf(distribution)
	if err != nil {
		return nil, err
	}
	p, err := buildProfile(layers, overrides)
	return p.Components, err
}

// Resolve does the same for one library.
func (l Library) Resolve(distribution, cni string, overrides Overrides) (Profile, error) {
	layers, err := l.layersOf(distribution)
	if err != nil {
		return Profile{}, err
	}
	c, ok := l.cnis[cni]
	if !ok {
		return Profile{}, fmt.Errorf("CNI %q is not known: write %s", cni, joinWithOr(l.CNINames()))
	}
	layers = append(layers, c)
	for _, name := range overrides.AddOns {
		a, ok := l.addOns[name]
		if !ok {
			return Profile{}, fmt.Errorf("add-on %q is not known: write %s, or add its flows", name, joinWithOr(l.AddOnNames()))
		}
		layers = append(layers, a)
	}
	return buildProfile(layers, overrides)
}

// layersOf returns the layers of a distribution, without those of a CNI and of add-ons.
func (l Library) layersOf(distribution string) ([]Layer, error) {
	d, ok := l.distributions[distribution]
	if !ok {
		return nil, fmt.Errorf("distribution %q is not known: write %s", distribution, joinWithOr(l.DistributionNames()))
	}
	return []Layer{l.base, d}, nil
}

func buildProfile(layers []Layer, overrides Overrides) (Profile, error) {
	m := newMatrix()
	for _, layer := range layers {
		if err := m.addLayer(layer); err != nil {
			return Profile{}, fmt.Errorf("profile %s: %w", layer.Name, err)
		}
	}
	if m.notApplicable == "" {
		if err := m.applyOverrides(overrides); err != nil {
			return Profile{}, err
		}
	}
	return m.buildProfile()
}

// matrix is a profile that is being built.
type matrix struct {
	layers        []LayerVersion
	notApplicable string
	components    map[string]Component
	flows         map[string]Flow
	closed        map[string]Closed
	replaced      map[string][]Traffic // the ports in the profile, of components with other ports in the policy
}

func newMatrix() *matrix {
	return &matrix{components: map[string]Component{}, flows: map[string]Flow{}, closed: map[string]Closed{}, replaced: map[string][]Traffic{}}
}

// addLayer puts a layer on top of the earlier layers. A required flow stays required.
func (m *matrix) addLayer(layer Layer) error {
	m.layers = append(m.layers, LayerVersion{Name: layer.Name, Version: layer.Version})
	m.notApplicable = cmp.Or(m.notApplicable, layer.NotApplicable)
	for _, name := range layer.Without {
		flow, isFlow := m.flows[name]
		_, isComponent := m.components[name]
		if !isFlow && !isComponent {
			return fmt.Errorf("without: there is no flow or component %s", name)
		}
		if flow.Required {
			return fmt.Errorf("without: flow %s is required", name)
		}
		delete(m.flows, name)
		delete(m.components, name)
	}
	for _, c := range layer.Components {
		c.Sources = documentsOf(c.Sources, layer.Sources)
		m.components[c.Name] = c
	}
	for _, f := range layer.Flows {
		if m.flows[f.Name].Required && !f.Required {
			return fmt.Errorf("flow %s: must be required, as the flow that it replaces", f.Name)
		}
		f.Layer = layer.Name
		f.Sources = documentsOf(f.Sources, layer.Sources)
		m.flows[f.Name] = f
	}
	for _, c := range layer.Closed {
		c.Sources = documentsOf(c.Sources, layer.Sources)
		m.closed[c.Name] = c
	}
	return nil
}

func documentsOf(keys []string, sources map[string]string) []string {
	var texts []string
	for _, key := range keys {
		texts = append(texts, sources[key])
	}
	return texts
}

// applyOverrides adds what is known of the cluster to the matrix.
func (m *matrix) applyOverrides(overrides Overrides) error {
	if err := m.setAPIServerPorts(overrides.APIServerPorts); err != nil {
		return err
	}
	if r := overrides.NodePorts; r != (PortRange{}) {
		if r.First == 0 || r.Last < r.First {
			return fmt.Errorf("node ports from %d to %d: write the first port of the range, then the last", r.First, r.Last)
		}
		m.setTraffic(ComponentNodePorts, []Traffic{{Protocol: TCP, First: r.First, Last: r.Last}, {Protocol: UDP, First: r.First, Last: r.Last}})
	}
	m.setKubeletPorts(overrides.KubeletPorts)
	for _, name := range slices.Sorted(maps.Keys(overrides.Components)) {
		if err := m.setComponent(name, overrides.Components[name]); err != nil {
			return fmt.Errorf("component %s: %w", name, err)
		}
	}
	for _, f := range overrides.Flows {
		if _, taken := m.flows[f.Name]; taken {
			return fmt.Errorf("added flow %s: the profile has a flow of this name: choose another name", f.Name)
		}
		if err := f.checkForm(); err != nil {
			return fmt.Errorf("added flow %s: %w", f.Name, err)
		}
		f.Layer = Added
		m.flows[f.Name] = f
	}
	return nil
}

func (m *matrix) setAPIServerPorts(ports []uint16) error {
	if len(ports) == 0 {
		return errors.New("the port of the API server is not known: give those of the EndpointSlice of the Service default/kubernetes")
	}
	traffic := slices.Clone(m.components[ComponentAPIServer].Also)
	for _, port := range ports {
		if port == 0 {
			return errors.New("the API server cannot have port 0: give the ports of the EndpointSlice of the Service default/kubernetes")
		}
		traffic = append(traffic, Traffic{Protocol: TCP, First: port, Last: port})
	}
	m.setTraffic(ComponentAPIServer, traffic)
	return nil
}

// setKubeletPorts sets the ports that kubelets report. The port of another component is
// left out: a kubelet cannot listen there, and must not be able to claim the port.
func (m *matrix) setKubeletPorts(ports []uint16) {
	var traffic []Traffic
	for _, port := range ports {
		shown := []Traffic{{Protocol: TCP, First: port, Last: port}}
		switch {
		case port == 0:
			traffic = append(traffic, m.components[ComponentKubelet].Traffic...)
		case !m.takenByOthers(ComponentKubelet, shown):
			traffic = append(traffic, shown...)
		}
	}
	if len(traffic) > 0 {
		m.setTraffic(ComponentKubelet, traffic)
	}
}

func (m *matrix) takenByOthers(name string, traffic []Traffic) bool {
	for other, c := range m.components {
		if other != name && !c.Translated && anyOverlaps(c.Traffic, traffic) {
			return true
		}
	}
	return false
}

func (m *matrix) setComponent(name string, traffic []Traffic) error {
	switch name {
	case ComponentAPIServer:
		return errors.New("its ports are those of the EndpointSlice of the Service default/kubernetes, and cannot be set")
	case ComponentNodePorts:
		return errors.New("set the range of node ports instead")
	}
	usual, known := m.components[name]
	if !known {
		return fmt.Errorf("there is no component of this name: write %s", joinWithOr(slices.Sorted(maps.Keys(m.components))))
	}
	if err := checkPorts(traffic); err != nil {
		return err
	}
	m.replaced[name] = usual.Traffic
	m.setTraffic(name, traffic)
	return nil
}

func (m *matrix) setTraffic(name string, traffic []Traffic) {
	c := m.components[name]
	if len(c.Loopback) > 0 && len(c.Loopback) == len(c.Traffic) {
		c.Loopback = traffic
	}
	c.Traffic, c.Also = traffic, nil
	m.components[name] = c
}

// buildProfile returns the matrix as a profile: sorted, and with the traffic of
// components in the flows that refer to components.
func (m *matrix) buildProfile() (Profile, error) {
	p := Profile{Layers: m.layers, NotApplicable: m.notApplicable}
	if p.NotApplicable != "" {
		return p, nil
	}
	for _, name := range slices.Sorted(maps.Keys(m.components)) {
		c := m.components[name]
		c.Traffic = sortTraffic(c.Traffic)
		for _, other := range p.Components {
			if !c.Translated && !other.Translated && anyOverlaps(c.Traffic, other.Traffic) {
				return Profile{}, m.portClashError(other, c)
			}
		}
		p.Components = append(p.Components, c)
	}
	for _, name := range slices.Sorted(maps.Keys(m.flows)) {
		f := m.flows[name]
		if f.Component != "" {
			c, ok := p.FindComponent(f.Component)
			if !ok {
				return Profile{}, fmt.Errorf("flow %s: there is no component %s: write %s",
					name, f.Component, joinWithOr(slices.Sorted(maps.Keys(m.components))))
			}
			f.Traffic = c.Traffic
			if f.Required {
				f.Traffic = slices.Concat(c.Traffic, m.replaced[f.Component])
			}
		}
		f.Traffic = sortTraffic(f.Traffic)
		f.From = slices.SortedFunc(slices.Values(f.From), func(a, b Role) int {
			return cmp.Compare(slices.Index(roles, a), slices.Index(roles, b))
		})
		f.Destinations, f.Sources = slices.Clone(f.Destinations), slices.Clone(f.Sources)
		p.Flows = append(p.Flows, f)
	}
	for _, name := range slices.Sorted(maps.Keys(m.closed)) {
		c := m.closed[name]
		c.Traffic = sortTraffic(c.Traffic)
		p.Closed = append(p.Closed, c)
	}
	return p, nil
}

func sortTraffic(traffic []Traffic) []Traffic {
	return slices.Compact(slices.SortedFunc(slices.Values(traffic), Traffic.Compare))
}
