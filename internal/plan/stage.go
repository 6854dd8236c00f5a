// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// stage gives every node the ruleset of its enactment: the wanted rules, older rules, or
// none. Failsafe ports are scoped only on a node whose enactment says so.
func (h *Hosts) stage(policy *Policy, policies []Policy, snapshot state.Snapshot) {
	h.Calico.Nodes, h.Older, h.widened = slices.Clone(h.Whole.Nodes), map[string]bool{}, map[string]bool{}
	h.established, h.unrecorded = map[string]bool{"": true}, map[string]bool{}
	for i := range h.Calico.Nodes {
		node := &h.Calico.Nodes[i]
		enactment := EnactmentOf(policy.Name, node.Name, snapshot.Enactments)
		phase := rollout.PhaseOf(enactment)
		if phase == "" { // no phase is recorded yet: the node keeps its rules, if any
			h.unrecorded[node.Name], node.Enforced = true, false
			continue
		}
		version, narrow := rollout.RulesetFor(enactment)
		if phase == v1alpha1.PhaseProgressing && !narrow {
			version = h.openFirst(enactment, policies, snapshot.Calico)
		}
		node.KeepFailsafes = node.KeepFailsafes || !narrow
		node.Enforced = version != ""
		h.uses(version)
		h.established[version] = true
		switch {
		case version != h.Version:
			node.Older, node.Interfaces = version, interfacesOf(version, policy.Name, node.Name, snapshot.Calico)
		case phase == v1alpha1.PhaseProgressing:
			node.Leaving = leaving(h.Whole, EndpointsOn(policy.Name, node.Name, snapshot.Calico.Endpoints))
		}
		if phase == v1alpha1.PhaseProgressing {
			h.uses(enactment.Status.PreviousRuleset)
		}
	}
	for i := range snapshot.Calico.Endpoints {
		if e := &snapshot.Calico.Endpoints[i]; e.Labels[v1alpha1.LabelPolicy] == policy.Name {
			h.uses(e.Labels[calico.LabelVersion])
			h.established[e.Labels[calico.LabelVersion]] = true
		}
	}
}

// openFirst returns the version of the rules for a started node. A rollback of new rules
// must stay possible, so the failsafe ports are opened before the node gets new rules.
func (h *Hosts) openFirst(e *v1alpha1.ControlPlaneNodeEnactment, policies []Policy, there state.Calico) string {
	version, previous := e.Status.Ruleset, e.Status.PreviousRuleset
	if !narrowed(e.Spec.Node, e.Spec.Policy, policies, there.Felix) {
		return version
	}
	h.widened[calico.FelixConfigurationName(e.Spec.Node)] = true
	if previous != "" || !has(version, e.Spec.Policy, e.Spec.Node, there.Endpoints) {
		return previous
	}
	return version
}

// Established tells whether a wanted object may have existed before. If not, the object
// belongs to a version of the rules that no node has or had.
func (h *Hosts) Established(object Object) bool {
	return h.established[object.GetLabels()[calico.LabelVersion]]
}

// goBack plans the rollback of nodes if the rules cannot be rendered: to the previous
// version, whose policies still exist, or to no rules.
func (h *Hosts) goBack(policy *Policy, snapshot state.Snapshot, enforces bool) {
	h.Calico, h.back = calico.Hosts{Policy: policy.Name}, map[string]backTo{}
	identity := snapshot.Addresses()
	if !enforces {
		return
	}
	for i := range snapshot.Enactments {
		enactment, name := &snapshot.Enactments[i], snapshot.Enactments[i].Spec.Node
		if enactment.Spec.Policy != policy.Name {
			continue
		}
		switch rollout.PhaseOf(enactment) {
		case "", v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
			continue // no phase yet, or the node stays as it is
		}
		version, narrow := rollout.RulesetFor(enactment)
		var addresses []netip.Addr
		at := slices.IndexFunc(snapshot.Nodes, func(n corev1.Node) bool { return n.Name == name })
		if at < 0 { // the Node is gone, and rolls back to no rules
			version, narrow = "", false
		} else {
			addresses = identity.OfNode(name)
		}
		h.back[name] = backTo{version, narrow}
		if !hasOther(version, policy.Name, name, snapshot.Calico.Endpoints) {
			continue
		}
		h.Calico.Nodes = append(h.Calico.Nodes, calico.Node{
			Name: name, Addresses: addresses, Enforced: version != "", Older: version,
			Interfaces: interfacesOf(version, policy.Name, name, snapshot.Calico), KeepFailsafes: true,
		})
	}
	var err error
	// cannot fail: own types
	if h.Objects, err = stamped(calico.RenderEndpoints(h.Calico)); err != nil {
		h.Objects, h.Calico.Nodes = nil, nil
	}
}

// has tells whether the policy's endpoint on the node has the version's rules.
func has(version, policy, node string, endpoints []v3.HostEndpoint) bool {
	return slices.ContainsFunc(endpoints, func(e v3.HostEndpoint) bool {
		return e.Spec.Node == node && e.Labels[v1alpha1.LabelPolicy] == policy && e.Labels[calico.LabelVersion] == version
	})
}

// hasOther tells whether an endpoint of the policy on the node has other rules than the
// version's.
func hasOther(version, policy, node string, endpoints []v3.HostEndpoint) bool {
	return slices.ContainsFunc(endpoints, func(e v3.HostEndpoint) bool {
		return e.Spec.Node == node && e.Labels[v1alpha1.LabelPolicy] == policy && (version == "" || e.Labels[calico.LabelVersion] != version)
	})
}

// GoesBack tells whether a live object must change for the planned rollback of nodes.
func (h *Hosts) GoesBack(live Object) bool {
	switch o := live.(type) {
	case *v3.HostEndpoint:
		return slices.ContainsFunc(h.Calico.Nodes, func(n calico.Node) bool { return n.Name == o.Spec.Node })
	case *v3.FelixConfiguration:
		to, back := h.back[calico.NodeOfFelixConfiguration(o.Name)]
		return back && (o.Labels[calico.LabelVersion] != to.version || !to.narrow)
	}
	return false
}

func (h *Hosts) uses(version string) {
	if version != "" && version != h.Version {
		h.Older[version] = true
	}
}

// backTo is the ruleset that a node rolls back to.
type backTo struct {
	version string
	narrow  bool
}

// EnactmentOf returns the enactment of a policy on a node; nil if there is none yet.
func EnactmentOf(policy, node string, enactments []v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.ControlPlaneNodeEnactment {
	i := slices.IndexFunc(enactments, func(e v1alpha1.ControlPlaneNodeEnactment) bool {
		return e.Spec.Policy == policy && e.Spec.Node == node
	})
	if i < 0 {
		return nil
	}
	return &enactments[i]
}

// narrowed tells whether the operator has scoped the failsafe ports of a node, for this
// policy or for a policy that is gone. A foreign copy with the operator's label does not
// count.
func narrowed(node, policy string, policies []Policy, configurations []v3.FelixConfiguration) bool {
	return slices.ContainsFunc(configurations, func(f v3.FelixConfiguration) bool {
		by := f.Labels[v1alpha1.LabelPolicy]
		return f.Name == calico.FelixConfigurationName(node) && f.Spec.FailsafeInboundHostPorts != nil && Written(&f) &&
			(by == policy || by != "" && Find(policies, by) == nil)
	})
}

// Narrows tells whether the failsafe ports of a node are scoped at the end of the rollout.
func (h *Hosts) Narrows(node string) bool {
	return slices.ContainsFunc(h.WholeObjects, func(o Object) bool {
		_, felix := o.(*v3.FelixConfiguration)
		return felix && o.GetName() == calico.FelixConfigurationName(node)
	})
}

// Widens tells whether a managed object goes before a node is started: scoped failsafe
// ports, from any policy.
func (h *Hosts) Widens(live Object) bool {
	felix, is := live.(*v3.FelixConfiguration)
	return is && h.widened[felix.Name]
}

// sameStage tells whether a node has the same rules in both.
func sameStage(a, b calico.Node) bool {
	return a.Enforced == b.Enforced && a.Older == b.Older && a.KeepFailsafes == b.KeepFailsafes && slices.Equal(a.Leaving, b.Leaving)
}

// Keeps tells whether an unwanted object of the policy stays as it is. The object belongs
// to an older version of the rules, and a node has the version or may be rolled back to it.
func (h *Hosts) Keeps(live Object) bool {
	switch o := live.(type) {
	case *v3.GlobalNetworkPolicy:
		return h.Older[o.Labels[calico.LabelVersion]]
	case *v3.HostEndpoint:
		return h.unrecorded[o.Spec.Node]
	case *v3.FelixConfiguration:
		name := calico.NodeOfFelixConfiguration(o.Name)
		return h.unrecorded[name] || !h.widened[o.Name] && slices.ContainsFunc(h.Calico.Nodes, func(n calico.Node) bool {
			return n.Name == name && n.Older != "" && n.Older == o.Labels[calico.LabelVersion] && !n.KeepFailsafes
		})
	case *v3.GlobalNetworkSet:
		return len(h.Older) > 0 && !slices.ContainsFunc(h.Calico.Sets, func(s calico.Set) bool {
			return s.Name == o.Labels[calico.LabelPeer]
		})
	}
	return false
}
