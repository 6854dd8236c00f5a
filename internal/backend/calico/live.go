// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"cmp"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Mode is the way in which Calico's API is served.
type Mode string

const (
	// Undetected means that the mode is not known yet.
	Undetected Mode = ""
	// Absent means that no API of Calico is served.
	Absent Mode = "Absent"
	// V1Only means that crd.projectcalico.org/v1 is served and projectcalico.org/v3 is
	// not: Calico runs without its API server.
	V1Only Mode = "V1Only"
	// Aggregated means that projectcalico.org/v3 is served by Calico's API server.
	Aggregated Mode = "Aggregated"
	// Native means that projectcalico.org/v3 is served from CRDs (Calico v3.32 and
	// later).
	Native Mode = "Native"
)

// Live is the state of Calico at one moment. The objects belong to the cache, and are
// never changed.
type Live struct {
	Renderer

	Mode Mode

	// Problem is the reason why the objects cannot be relied on, and nothing may be
	// written; empty if there is no problem. The text is for people, and says how to
	// correct the problem.
	Problem string

	// Settling says that the only Problem is an unfinished first read, for a moment
	// after a start.
	Settling bool

	// TooLarge says which objects take too much memory, and what to do; empty if no objects
	// do. Of such kinds, only the operator's own objects are known: enough to roll back,
	// but not enough to judge or to restrict traffic.
	TooLarge string

	// The objects, sorted by name. Without a Problem, the objects are complete but for
	// kinds that are TooLarge.
	Tiers     []v3.Tier
	Policies  []v3.GlobalNetworkPolicy
	Sets      []v3.GlobalNetworkSet
	Endpoints []v3.HostEndpoint
	Felix     []v3.FelixConfiguration
	Pools     []v3.IPPool
}

// AddToScheme adds the kinds of Calico to a scheme.
var AddToScheme = v3.AddToScheme

// Of returns the state of Calico from a backend; an empty state from backends other than
// Calico.
func Of(live backend.Live) Live {
	calico, _ := live.(Live)
	return calico
}

// IsReadable says whether the operator's own objects can be compared and written.
func (c Live) IsReadable() bool { return c.IsServed() && c.Problem == "" }

// MayHideObjects says whether there may be objects that cannot be seen now.
func (c Live) MayHideObjects() bool {
	return !c.IsReadable() && (c.Mode != Absent || c.Problem != "")
}

// IsServed says whether projectcalico.org/v3 is served.
func (c Live) IsServed() bool { return c.Mode == Aggregated || c.Mode == Native }

// WithProblem returns the same state, which cannot be relied on any more.
func (c Live) WithProblem(text string) backend.Live {
	c.Problem, c.Settling = text, false
	return c
}

// Objects returns the objects that the operator may have made.
func (c Live) Objects() []backend.Object {
	var objects []backend.Object
	for i := range c.Tiers {
		if c.Tiers[i].Name == TierName {
			objects = append(objects, &c.Tiers[i])
		}
	}
	for i := range c.Sets {
		objects = append(objects, &c.Sets[i])
	}
	for i := range c.Policies {
		objects = append(objects, &c.Policies[i])
	}
	for i := range c.Endpoints {
		objects = append(objects, &c.Endpoints[i])
	}
	for i := range c.Felix {
		objects = append(objects, &c.Felix[i])
	}
	return objects
}

// ForeignIn returns the foreign policies in the tier.
func (c Live) ForeignIn(tier backend.Object, ours func(backend.Object) bool) []backend.Object {
	var foreign []backend.Object
	for i := range c.Policies {
		if p := &c.Policies[i]; p.Spec.Tier == tier.GetName() && !ours(p) {
			foreign = append(foreign, p)
		}
	}
	return foreign
}

// HostEndpoints returns the host endpoints, sorted by name.
func (c Live) HostEndpoints() []backend.Endpoint {
	endpoints := make([]backend.Endpoint, 0, len(c.Endpoints))
	for i := range c.Endpoints {
		endpoints = append(endpoints, endpointOf(&c.Endpoints[i]))
	}
	return endpoints
}

// endpointOf returns a host endpoint in the words of the planner.
func endpointOf(e *v3.HostEndpoint) backend.Endpoint {
	out := backend.Endpoint{
		Name: e.Name, Node: e.Spec.Node, Interface: e.Spec.InterfaceName, Managed: IsManagedEndpoint(e),
		Policy: e.Labels[v1alpha1.LabelPolicy], Version: e.Labels[LabelVersion], Enforcing: IsEnforcing(e),
		RulesFor: cmp.Or(e.Labels[LabelInterface], backend.EveryInterface),
	}
	for _, text := range e.Spec.ExpectedIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			out.Addresses = append(out.Addresses, address)
		}
	}
	return out
}

// SetNetworks returns the networks in a set of a policy, as written now.
func (c Live) SetNetworks(policy, set string) (networks []netip.Prefix, exists bool) {
	for i := range c.Sets {
		s := &c.Sets[i]
		if s.Labels[v1alpha1.LabelPolicy] != policy || s.Labels[LabelPeer] != set {
			continue
		}
		exists = true
		for _, net := range s.Spec.Nets {
			if prefix, err := netip.ParsePrefix(net); err == nil {
				networks = append(networks, prefix)
			}
		}
	}
	return networks, exists
}

// RuleInterfaces returns the interfaces for which nodes with the version need an endpoint.
func (c Live) RuleInterfaces(policy, version string) []string {
	var interfaces []string
	for i := range c.Policies {
		p := &c.Policies[i]
		if p.Labels[v1alpha1.LabelPolicy] != policy || p.Labels[LabelVersion] != version {
			continue
		}
		if iface, needed := EndpointInterfaceFor(p); needed && !slices.Contains(interfaces, iface) {
			interfaces = append(interfaces, iface)
		}
	}
	return interfaces
}

// Failsafes returns the failsafe ports of all nodes; nil if Felix's defaults apply.
func (c Live) Failsafes() []backend.Failsafe {
	for i := range c.Felix {
		if ports := c.Felix[i].Spec.FailsafeInboundHostPorts; c.Felix[i].Name == FelixConfigurationDefault && ports != nil {
			return failsafesOf(*ports)
		}
	}
	return nil
}

// ScopedFailsafes returns the policy, and the version of rules, for which the operator has
// scoped the failsafe ports of a node. A foreign copy with the operator's labels does not
// count.
func (c Live) ScopedFailsafes(node string) (policy, version string, scoped bool) {
	for i := range c.Felix {
		f := &c.Felix[i]
		if f.Name == FelixConfigurationName(node) && f.Spec.FailsafeInboundHostPorts != nil && backend.IsWrittenByOperator(f) {
			return f.Labels[v1alpha1.LabelPolicy], f.Labels[LabelVersion], true
		}
	}
	return "", "", false
}

// PodNetworks returns the networks of Calico's IP pools. Disabled pools count, because pods
// may still have addresses of a disabled pool.
func (c Live) PodNetworks() []netip.Prefix {
	var networks []netip.Prefix
	for i := range c.Pools {
		if prefix, err := netip.ParsePrefix(c.Pools[i].Spec.CIDR); err == nil {
			networks = append(networks, prefix.Masked())
		}
	}
	return networks
}
