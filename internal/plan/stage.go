// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// NodeTarget is the state that the enactment calls for on a node.
type NodeTarget struct {
	// Now is the ruleset to write now, End the ruleset at the end of the rollout.
	Now, End rollout.Ruleset
	// KeepEndpoints and KeepFailsafes tell that the node's endpoints, or failsafe ports,
	// stay unchanged: no phase is recorded yet, the recorded rules are not declared any more
	// and were never given to the node, or the node has rolled back already.
	KeepEndpoints, KeepFailsafes bool
	// OpenFailsafes tells that scoped failsafe ports are opened before the node gets other
	// rules, even if a deleted policy has scoped them.
	OpenFailsafes bool
}

// stage gives every node the ruleset of its enactment: the wanted rules, older rules, or
// none.
func (h *Hosts) stage(policy *Policy, policies []Policy, snapshot state.Snapshot) {
	live := snapshot.OnHosts()
	endpoints := live.HostEndpoints()
	h.Now.Nodes, h.Targets = slices.Clone(h.Whole.Nodes), map[string]NodeTarget{}
	h.VersionsInUse = sets.New("")
	for i := range h.Now.Nodes {
		node := &h.Now.Nodes[i]
		enactment := EnactmentOf(policy.Name, node.Name, snapshot.Enactments)
		target := NodeTarget{End: node.Ruleset}
		switch phase := rollout.PhaseOf(enactment); {
		case phase == "": // no phase is recorded yet: the node keeps its rules, if any
			target.KeepEndpoints, target.KeepFailsafes = true, true
		case h.isSuperseded(enactment, endpoints): // the node keeps its rules, until the rollout starts the node again
			target.KeepEndpoints, target.KeepFailsafes = true, true
			h.VersionsInUse.Insert(enactment.Status.PreviousRuleset)
		case phase == v1alpha1.PhaseProgressing:
			target.Now, target.OpenFailsafes = rulesetOnTrial(enactment, policies, live, endpoints)
			h.VersionsInUse.Insert(enactment.Status.PreviousRuleset)
			if target.Now.Version == h.Whole.Version {
				node.Leaving = interfacesToRemove(live.EndpointInterfaces(h.Whole), EndpointsOn(policy.Name, node.Name, endpoints))
			}
		default:
			target.Now = rollout.RulesetFor(enactment)
		}
		if target.Now.Version == h.Whole.Version {
			target.Now.FailsafesScoped = target.Now.FailsafesScoped && target.End.FailsafesScoped
		} else {
			target.Now.FailsafesScoped = target.Now.FailsafesScoped && !node.KeepFailsafes
			node.Interfaces = interfacesOf(target.Now.Version, policy.Name, node.Name, live, endpoints)
		}
		node.Ruleset, h.Targets[node.Name] = target.Now, target
		h.VersionsInUse.Insert(target.Now.Version)
	}
	for _, e := range endpoints {
		if e.Policy == policy.Name {
			h.VersionsInUse.Insert(e.Version)
		}
	}
}

// isSuperseded tells whether a node in flight waits for rules that the policy does not
// declare any more. The policies of such rules may be incomplete, because the operator
// writes only the policies of declared rules: the node must not get the rules.
func (h *Hosts) isSuperseded(e *v1alpha1.ControlPlaneNodeEnactment, endpoints []backend.Endpoint) bool {
	return rollout.PhaseOf(e) == v1alpha1.PhaseProgressing && e.Status.Ruleset != h.Whole.Version &&
		!has(e.Status.Ruleset, e.Spec.Policy, e.Spec.Node, endpoints)
}

// rulesetOnTrial returns the ruleset to write now for a node in flight. A rollback of new
// rules must stay possible, so scoped failsafe ports are opened before the node gets new
// rules.
func rulesetOnTrial(
	e *v1alpha1.ControlPlaneNodeEnactment, policies []Policy, live backend.Live, endpoints []backend.Endpoint,
) (now rollout.Ruleset, open bool) {
	now, node, policy := rollout.RulesetFor(e), e.Spec.Node, e.Spec.Policy
	if now.FailsafesScoped || !hasScopedFailsafes(node, policy, policies, live) {
		return now, false
	}
	if previous := e.Status.PreviousRuleset; previous != "" || !has(now.Version, policy, node, endpoints) {
		now.Version = previous
	}
	return now, true
}

// hold plans the rollback of nodes whose rules cannot be rendered: to the previous version,
// whose policies still exist, or to no rules. All other nodes have no target, and stay
// unchanged.
func (h *Hosts) hold(policy *Policy, snapshot state.Snapshot) {
	h.Intent, h.Now, h.Targets = intent.Hold, backend.Hosts{Policy: policy.Name}, map[string]NodeTarget{}
	if policy.Spec.Suspend || policy.Intent() == intent.Audit { // nothing is written
		return
	}
	identity, live := snapshot.Addresses(), snapshot.OnHosts()
	endpoints := live.HostEndpoints()
	for i := range snapshot.Enactments {
		enactment, name := &snapshot.Enactments[i], snapshot.Enactments[i].Spec.Node
		if enactment.Spec.Policy != policy.Name {
			continue
		}
		switch rollout.PhaseOf(enactment) {
		case "", v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
			continue // no phase yet, or the node stays as it is
		}
		target := NodeTarget{Now: rollout.RulesetFor(enactment)}
		var addresses []netip.Addr
		at := slices.IndexFunc(snapshot.Nodes, func(n *corev1.Node) bool { return n.Name == name })
		if at < 0 { // the Node is gone, and rolls back to no rules
			target.Now = rollout.Ruleset{}
		} else {
			addresses = identity.OfNode(name)
		}
		target.KeepEndpoints = !hasOther(target.Now.Version, policy.Name, name, endpoints)
		h.Targets[name] = target
		if target.KeepEndpoints {
			continue
		}
		h.Now.Nodes = append(h.Now.Nodes, backend.Node{
			Name: name, Addresses: addresses, Ruleset: target.Now,
			Interfaces: interfacesOf(target.Now.Version, policy.Name, name, live, endpoints),
		})
	}
	var err error
	// cannot fail: own types
	if h.Objects, err = stamped(live.RenderEndpoints(h.Now)); err != nil {
		h.Objects, h.Now.Nodes = nil, nil
	}
}

// OlderVersionsInUse tells whether a node has, or may be rolled back to, rules of another
// version than the declared one.
func (h *Hosts) OlderVersionsInUse() bool {
	return h.VersionsInUse.Clone().Delete("", h.Whole.Version).Len() > 0
}

// has tells whether the policy's endpoint on the node has the version's rules.
func has(version, policy, node string, endpoints []backend.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e backend.Endpoint) bool {
		return e.Node == node && e.Policy == policy && e.Version == version
	})
}

// hasOther tells whether an endpoint of the policy on the node has other rules than the
// version's.
func hasOther(version, policy, node string, endpoints []backend.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e backend.Endpoint) bool {
		return e.Node == node && e.Policy == policy && (version == "" || e.Version != version)
	})
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

// hasScopedFailsafes tells whether the operator has scoped the failsafe ports of a node,
// for the policy or for a deleted policy.
func hasScopedFailsafes(node, policy string, policies []Policy, live backend.Live) bool {
	by, _, scoped := live.ScopedFailsafes(node)
	return scoped && (by == policy || by != "" && FindPolicy(policies, by) == nil)
}

// hasSameRules tells whether a node has the same rules in both.
func hasSameRules(a, b backend.Node) bool {
	return a.Ruleset == b.Ruleset && slices.Equal(a.Leaving, b.Leaving)
}
