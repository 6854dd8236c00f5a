// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Hosts is the plan for protecting nodes by one policy.
type Hosts struct {
	// Declared tells whether the policy restricts components on nodes.
	Declared bool
	// Profile is the resolved distribution and CNI; nil unless Declared.
	Profile *v1alpha1.ResolvedProfile
	// Unprotected is the reason why the declared protection is absent although the policy has
	// no fault; nil otherwise.
	Unprotected *backend.Obstacle
	// Intent is Hold if the written objects stay as they are, and Objects contains only the
	// rollback of nodes in flight: the rules cannot be rendered now, or the policy's wish is
	// not known any more, or the policy is orphaned. Otherwise the intent is the policy's.
	Intent intent.Intent
	// Now is the input for rendering Objects: each node has the rules for its place in the
	// rollout.
	Now backend.Hosts
	// Objects are the objects of the backend in the order of their writes.
	Objects []Object
	// Whole and WholeObjects are the values of Now and Objects at the end of the rollout.
	Whole        backend.Hosts
	WholeObjects []Object
	// RequiredFlows are the required flows, which neither Objects nor WholeObjects may cut.
	RequiredFlows RequiredFlows
	// Targets are the rulesets of the nodes, if the intent is Enforce or Hold. Under Hold, a
	// node without a target stays as it is.
	Targets map[string]NodeTarget
	// VersionsInUse are the versions of rules that nodes have, are to have now, or may be
	// rolled back to; the empty version stands for no rules. The policies of the versions
	// in use stay.
	VersionsInUse sets.Set[string]
	// tls is the traffic that uses TLS.
	tls []profile.Traffic
	// Held are the components that cannot be rendered now.
	Held []Held
	// Undecided are the questions for an administrator, to be answered before the first write.
	Undecided []Held
	// Notes are warnings about a plan that is safe to write, such as required flows without any
	// sender.
	Notes []string
	// Addressless are the selected nodes that cannot be protected because no address of the
	// node is known.
	Addressless []string
	// Losses are the nodes that an older policy protects.
	Losses []Loss
	// Foreign maps each node with a foreign endpoint in the place of the managed endpoint to
	// the name of the foreign endpoint.
	Foreign map[string]string
}

// HostProtection plans the protection of the selected nodes. policies are sorted from
// oldest to newest; a node belongs to the oldest policy that selects the node and protects
// hosts.
func HostProtection(policy *Policy, policies []Policy, snapshot state.Snapshot) Hosts {
	hosts, hold := Hosts{}, policy.Intent() == intent.Orphan
	switch {
	case policy.ProtectsHosts():
		hosts = protection(policy, policies, snapshot)
		hold = len(hosts.Held) > 0 || hosts.Unprotected != nil && hosts.Unprotected.Reason != v1alpha1.ReasonHostBackendNone
	case policy.Claims() && policy.Invalid != nil && policy.Spec.Network != nil:
		hold = true // the selected nodes are known again once the selector is valid
	}
	hosts.Intent = policy.Intent()
	if hold {
		hosts.hold(policy, snapshot)
	}
	return hosts
}

func protection(policy *Policy, policies []Policy, snapshot state.Snapshot) Hosts {
	hosts := Hosts{Declared: true}
	p, resolved, err := resolveProfile(policy, snapshot)
	hosts.Profile = resolved
	if hosts.Unprotected = obstacle(policy, p, err, snapshot.OnHosts().Availability()); hosts.Unprotected != nil {
		return hosts
	}
	if err != nil {
		hosts.Held = []Held{{Reason: v1alpha1.ReasonProfileUnknown, Why: err.Error()}}
		return hosts
	}
	r := newHostResolver(policy, p, resolved.CNI, snapshot)
	hosts.Whole, hosts.Losses, hosts.Foreign = r.resolveHosts(policies)
	hosts.RequiredFlows, hosts.tls = r.requiredFlows(hosts.Whole), tlsOf(p)
	hosts.Whole = r.live.WithRulesets(hosts.Whole)
	hosts.Now = hosts.Whole
	if policy.Enforces() {
		hosts.stage(policy, policies, snapshot)
		r.keepSets(&hosts)
	}
	hosts.Notes, hosts.Addressless = slices.Concat(keptNotes(resolved), r.notes, r.notesOnShutOutSenders(hosts.Whole)), r.unprotected
	hosts.ask(r.undecidedSenders(hosts.Whole), hosts.inForce(policy, snapshot))
	switch held := r.holdForUnknownAddresses(hosts.Now); {
	case held != nil:
		hosts.Held = []Held{*held}
	case len(hosts.Now.Nodes) == 0 && len(hosts.Addressless) > 0:
		hosts.Held = []Held{{Reason: v1alpha1.ReasonAddressesUnknown, Why: "no address is known of any selected node: " +
			"see why their kubelet, or the cloud's controller, does not set status.addresses"}}
	case len(hosts.Now.Nodes) == 0 && len(hosts.Losses) == 0:
		hosts.Held = []Held{{Reason: v1alpha1.ReasonNoMatchingNodes, Why: "no node is selected"}}
	case len(hosts.Now.Nodes) > 0:
		// Availability is checked last, because the safety of a policy does not depend on the
		// backend's API answering just now.
		if hosts.Unprotected = r.live.Availability().Unavailable; hosts.Unprotected == nil {
			hosts.render(r.live)
		}
	}
	return hosts
}

// ask records the undecided questions. If the rules are in force on every node, the
// questions become notes: the rules have already cut off any forgotten sender, and new
// nodes must still get their rules.
func (h *Hosts) ask(undecided []Held, inForce bool) {
	if !inForce {
		h.Undecided = undecided
		return
	}
	for _, held := range undecided {
		h.Notes = append(h.Notes, held.Why)
	}
}

// inForce tells whether every node enforces the wanted rules.
func (h *Hosts) inForce(policy *Policy, snapshot state.Snapshot) bool {
	return len(h.Whole.Nodes) > 0 && !slices.ContainsFunc(h.Whole.Nodes, func(n backend.Node) bool {
		enactment := EnactmentOf(policy.Name, n.Name, snapshot.Enactments)
		return rollout.PhaseOf(enactment) != v1alpha1.PhaseEnforced || enactment.Status.Ruleset != h.Whole.Version
	})
}

// render renders the resolved intent into objects, or records the reason to hold.
func (h *Hosts) render(with backend.Renderer) {
	var err error
	if h.WholeObjects, err = rendered(with, h.Whole); err == nil {
		h.Objects, err = h.WholeObjects, nil
		if len(h.Now.Sets) != len(h.Whole.Sets) || !slices.EqualFunc(h.Now.Nodes, h.Whole.Nodes, hasSameRules) {
			h.Objects, err = rendered(with, h.Now)
		}
	}
	if err != nil {
		h.Objects, h.WholeObjects = nil, nil
		h.Held = []Held{{Reason: v1alpha1.ReasonAddressesUnknown, Why: err.Error()}}
	}
}

// Rendered tells whether there are objects to write for the nodes.
func (h *Hosts) Rendered() bool { return len(h.WholeObjects) > 0 }

func rendered(with backend.Renderer, hosts backend.Hosts) ([]Object, error) {
	objects, err := with.Render(hosts)
	if err != nil {
		return nil, err
	}
	return stamped(objects)
}

func stamped(objects []Object) ([]Object, error) {
	for _, object := range objects {
		// A common object belongs to all policies, and a shared object to other managers too.
		if traits := backend.TraitsOf(object); !traits.Common && !traits.Shared {
			if err := Stamp(object); err != nil {
				return nil, err
			}
		}
	}
	return objects, nil
}

// ProtectsHosts tells whether the policy restricts components on nodes.
func (p *Policy) ProtectsHosts() bool {
	return p.Claims() && p.declaresHosts()
}

func (p *Policy) declaresHosts() bool {
	network := p.Spec.Network
	return network != nil && p.Invalid == nil &&
		(network.Unlisted == v1alpha1.UnlistedDeny || len(onHosts(p)) > 0)
}

// claimsHosts tells whether the policy keeps its nodes from younger policies. A policy also
// keeps its nodes during a rollback: the rollback answers an emergency, and another policy
// must not use the occasion.
func (p *Policy) claimsHosts() bool {
	return !p.Deleting() && p.declaresHosts() && p.Spec.Network.HostBackend != v1alpha1.HostBackendNone
}

func onHosts(policy *Policy) []v1alpha1.Component {
	var components []v1alpha1.Component
	for _, component := range policy.Spec.Network.Components {
		if component.OnHosts() {
			components = append(components, component)
		}
	}
	return components
}

// obstacle returns the reason why nodes of this cluster cannot be protected, if the reason
// is certain.
func obstacle(policy *Policy, p profile.Profile, unknown error, available backend.Availability) *backend.Obstacle {
	switch {
	case policy.Spec.Network.HostBackend == v1alpha1.HostBackendNone:
		return &backend.Obstacle{
			Reason:  v1alpha1.ReasonHostBackendNone,
			Message: "spec.network.hostBackend is None: nothing protects the components on nodes",
		}
	case unknown == nil && p.NotApplicable != "":
		return &backend.Obstacle{Reason: v1alpha1.ReasonNotApplicable, Message: p.NotApplicable + ": leave out the components without pods"}
	}
	return available.Missing
}

// selectedNodes returns the nodes that the policy protects, and a loss for each selected
// node that an older policy protects.
func selectedNodes(policy *Policy, policies []Policy, nodes []*corev1.Node) (own []*corev1.Node, losses []Loss) {
	for _, node := range nodes {
		if !policy.SelectsNode(node) {
			continue
		}
		winner := slices.IndexFunc(policies, func(p Policy) bool { return p.claimsHosts() && p.SelectsNode(node) })
		if winner >= 0 && policies[winner].Name != policy.Name {
			losses = append(losses, Loss{
				Policy: policy.Name, Winner: policies[winner].Name, What: fmt.Sprintf("the protection of node %s", node.Name),
			})
			continue
		}
		own = append(own, node)
	}
	return own, losses
}
