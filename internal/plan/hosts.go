// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
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
	Unprotected *Obstacle
	// Stays tells that the written objects stay as they are, and that Objects contains only the
	// rollback of nodes in flight. Stays is set if the rules cannot be rendered now, or the
	// policy's wish is not known any more.
	Stays bool
	// Calico is the input for rendering Objects: each node has the rules for its place in the
	// rollout.
	Calico calico.Hosts
	// Objects are Calico's objects in the order of their writes.
	Objects []Object
	// Whole and WholeObjects are the values of Calico and Objects at the end of the rollout.
	Whole        calico.Hosts
	WholeObjects []Object
	// Lifelines are the required flows, which neither Objects nor WholeObjects may cut.
	Lifelines Lifelines
	// Version is the version of the wanted rules. Older are the other versions that nodes have,
	// or that nodes may be rolled back to.
	Version string
	Older   map[string]bool
	// unrecorded are the nodes without a recorded phase.
	unrecorded map[string]bool
	// widened are the Felix configurations to write before their nodes get rules.
	widened map[string]bool
	// back is the ruleset that each node rolls back to if the rules cannot be rendered.
	back map[string]backTo
	// established are the versions that nodes have, or are to have now.
	established map[string]bool
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

// Obstacle is the reason why a declared protection is impossible: a reason of the
// conditions Programmed and Effective, and a message with what to do.
type Obstacle struct{ Reason, Message string }

// HostProtection plans the protection of the selected nodes. policies are sorted from
// oldest to newest; a node belongs to the oldest policy that selects the node and protects
// hosts.
func HostProtection(policy *Policy, policies []Policy, snapshot state.Snapshot) Hosts {
	var hosts Hosts
	switch {
	case policy.ProtectsHosts():
		hosts = protection(policy, policies, snapshot)
		hosts.Stays = len(hosts.Held) > 0 || hosts.Unprotected != nil && hosts.Unprotected.Reason != v1alpha1.ReasonHostBackendNone
	case policy.Claims() && policy.Invalid != nil && policy.Spec.Network != nil:
		hosts.Stays = true // the selected nodes are known again once the selector is valid
	}
	if hosts.Stays {
		hosts.goBack(policy, snapshot, policy.Enforces())
	}
	return hosts
}

// GoingBack plans the rollback of nodes that must not keep the ruleset of their start. All
// other objects stay as they are.
func GoingBack(policy *Policy, snapshot state.Snapshot) Hosts {
	hosts := Hosts{Stays: true}
	hosts.goBack(policy, snapshot, true)
	return hosts
}

func protection(policy *Policy, policies []Policy, snapshot state.Snapshot) Hosts {
	hosts := Hosts{Declared: true}
	p, resolved, err := resolveProfile(policy, snapshot)
	hosts.Profile = resolved
	if hosts.Unprotected = obstacle(policy, p, err, snapshot.Calico); hosts.Unprotected != nil {
		return hosts
	}
	if err != nil {
		hosts.Held = []Held{{Reason: v1alpha1.ReasonProfileUnknown, Why: err.Error()}}
		return hosts
	}
	r := newHostResolver(policy, p, resolved.CNI, snapshot)
	hosts.Whole, hosts.Losses, hosts.Foreign = r.resolve(policies)
	hosts.Lifelines = r.lifelines(hosts.Whole)
	hosts.Calico, hosts.Version, hosts.tls = hosts.Whole, calico.RulesetVersion(hosts.Whole), tlsOf(p)
	if policy.Enforces() {
		hosts.stage(policy, policies, snapshot)
		r.keepSets(&hosts)
	}
	hosts.Notes, hosts.Addressless = slices.Concat(keptNotes(resolved), r.notes, r.consequences(hosts.Whole)), r.unprotected
	hosts.ask(r.undecided(hosts.Whole), hosts.inForce(policy, snapshot))
	switch held := r.unreachable(hosts.Calico); {
	case held != nil:
		hosts.Held = []Held{*held}
	case len(hosts.Calico.Nodes) == 0 && len(hosts.Addressless) > 0:
		hosts.Held = []Held{{Reason: v1alpha1.ReasonAddressesUnknown, Why: "no address is known of any selected node: " +
			"see why their kubelet, or the cloud's controller, does not set status.addresses"}}
	case len(hosts.Calico.Nodes) == 0 && len(hosts.Losses) == 0:
		hosts.Held = []Held{{Reason: v1alpha1.ReasonNoMatchingNodes, Why: "no node is selected"}}
	case len(hosts.Calico.Nodes) > 0:
		// Calico's availability is checked last, because the safety of a policy does not depend
		// on Calico's API answering just now.
		if hosts.Unprotected = unavailable(snapshot.Calico); hosts.Unprotected == nil {
			hosts.render()
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
	return len(h.Whole.Nodes) > 0 && !slices.ContainsFunc(h.Whole.Nodes, func(n calico.Node) bool {
		enactment := EnactmentOf(policy.Name, n.Name, snapshot.Enactments)
		return rollout.PhaseOf(enactment) != v1alpha1.PhaseEnforced || enactment.Status.Ruleset != h.Version
	})
}

// render renders the resolved intent into objects, or records the reason to hold.
func (h *Hosts) render() {
	var err error
	if h.WholeObjects, err = rendered(h.Whole); err == nil {
		h.Objects, err = h.WholeObjects, nil
		if len(h.Calico.Sets) != len(h.Whole.Sets) || !slices.EqualFunc(h.Calico.Nodes, h.Whole.Nodes, sameStage) {
			h.Objects, err = rendered(h.Calico)
		}
	}
	if err != nil {
		h.Objects, h.WholeObjects = nil, nil
		h.Held = []Held{{Reason: v1alpha1.ReasonEmptyPeerSet, Why: err.Error()}}
	}
}

// Rendered tells whether there are objects to write for the nodes.
func (h *Hosts) Rendered() bool { return len(h.WholeObjects) > 0 }

func rendered(hosts calico.Hosts) ([]Object, error) {
	objects, err := calico.Render(hosts)
	if err != nil {
		return nil, err
	}
	return stamped(objects)
}

func stamped(objects []Object) ([]Object, error) {
	for _, object := range objects {
		// All policies share the tier, and other managers share a Felix configuration.
		if _, tier := object.(*v3.Tier); !tier && !Shared(object) {
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
// keeps its nodes while it is rolled back: the rollback answers an emergency, and another
// policy must not use the occasion.
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
func obstacle(policy *Policy, p profile.Profile, unknown error, cluster state.Calico) *Obstacle {
	switch {
	case policy.Spec.Network.HostBackend == v1alpha1.HostBackendNone:
		return &Obstacle{v1alpha1.ReasonHostBackendNone, "spec.network.hostBackend is None: nothing protects the components on nodes"}
	case unknown == nil && p.NotApplicable != "":
		return &Obstacle{v1alpha1.ReasonNotApplicable, p.NotApplicable + ": leave out the components without pods"}
	case cluster.Problem != "":
		return nil // there may be more to say
	case cluster.Mode == state.CalicoAbsent:
		return &Obstacle{
			v1alpha1.ReasonCalicoNotInstalled,
			"Calico is not installed, and only its host endpoints can protect components in their node's network: " +
				"install Calico (it can enforce policy beside another CNI), or set spec.network.hostBackend to None",
		}
	case cluster.Mode == state.CalicoV1Only:
		return &Obstacle{
			v1alpha1.ReasonCalicoAPIServerMissing,
			"Calico serves crd.projectcalico.org/v1 only, which is not to be written by others: install its API server " +
				"(an APIServer object of operator.tigera.io/v1 named default, or the manifest apiserver.yaml of Calico's release)",
		}
	}
	return nil
}

// unavailable returns the reason why Calico, installed or not, cannot be used now.
func unavailable(cluster state.Calico) *Obstacle {
	switch {
	case cluster.Problem != "":
		return &Obstacle{v1alpha1.ReasonCalicoUnavailable, cluster.Problem}
	case cluster.Mode == state.CalicoUnknown:
		return &Obstacle{v1alpha1.ReasonCalicoUnavailable, "It is being found out whether Calico is there"}
	}
	return nil
}

// selectedNodes returns the nodes that the policy protects, and a loss for each selected
// node that an older policy protects.
func selectedNodes(policy *Policy, policies []Policy, nodes []corev1.Node) (own []*corev1.Node, losses []Loss) {
	for i := range nodes {
		node := &nodes[i]
		if !policy.Selects(node) {
			continue
		}
		winner := slices.IndexFunc(policies, func(p Policy) bool { return p.claimsHosts() && p.Selects(node) })
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
