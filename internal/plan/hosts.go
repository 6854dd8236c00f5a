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

// Hosts is what a policy calls for in the way of protecting nodes.
type Hosts struct {
	// Declared says that the policy restricts something on nodes.
	Declared bool
	// Profile is what kind of cluster it is taken for; nil unless Declared.
	Profile *v1alpha1.ResolvedProfile
	// Unprotected says why nothing protects the nodes, though that is declared
	// and the policy is not at fault; nil otherwise.
	Unprotected *Obstacle
	// Stays says that what was written before stays, and Objects are only what takes
	// nodes back that were under way: nothing can be rendered now, or it is not known
	// any more what is called for.
	Stays bool
	// Calico is what Objects are rendered from: the nodes have the rules as far as
	// the rollout is.
	Calico calico.Hosts
	// Objects are the objects of Calico in the order in which they may be
	// written.
	Objects []Object
	// Whole and WholeObjects are what Calico and Objects become when the rollout
	// is through.
	Whole        calico.Hosts
	WholeObjects []Object
	// Lifelines are the flows that neither may cut.
	Lifelines Lifelines
	// Version is that of the rules that are called for, Older are others that
	// nodes have, or may be taken back to.
	Version string
	Older   map[string]bool
	// unrecorded are the nodes of which nothing is on record yet.
	unrecorded map[string]bool
	// widened are the Felix configurations that go before their nodes get rules.
	widened map[string]bool
	// back is what nodes go back to where nothing can be rendered.
	back map[string]backTo
	// established are the versions that nodes have, or are to have now.
	established map[string]bool
	// tls is the traffic that is TLS.
	tls []profile.Traffic
	// Held are the components that can not be rendered now.
	Held []Held
	// Undecided is what only a person can say before anything may be written.
	Undecided []Held
	// Notes are what is safe to write and yet to be known: required flows that
	// nobody is let through for.
	Notes []string
	// Addressless are selected nodes that can not be protected, because none of
	// their addresses is known.
	Addressless []string
	// Losses are the nodes whose hosts an older policy protects.
	Losses []Loss
	// Foreign are the nodes on which endpoints of others are in the place of
	// ours, with the name of that endpoint.
	Foreign map[string]string
}

// Obstacle is why something that is declared can not be had: a reason of the
// conditions Programmed and Effective, and what to do.
type Obstacle struct{ Reason, Message string }

// HostProtection plans the protection of the selected nodes. Policies come
// oldest first; of those that select a node and protect hosts, the oldest does.
func HostProtection(policy *Policy, policies []Policy, snapshot state.Snapshot) Hosts {
	var hosts Hosts
	switch {
	case policy.ProtectsHosts():
		hosts = protection(policy, policies, snapshot)
		hosts.Stays = len(hosts.Held) > 0 || hosts.Unprotected != nil && hosts.Unprotected.Reason != v1alpha1.ReasonHostBackendNone
	case policy.Claims() && policy.Invalid != nil && policy.Spec.Network != nil:
		hosts.Stays = true // of which nodes, a selector that can be read will tell
	}
	if hosts.Stays {
		hosts.goBack(policy, snapshot, policy.Enforces())
	}
	return hosts
}

// GoingBack plans that nodes which are not to have what they were begun with go back,
// and everything else stays as it is.
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
		// Only now: whether a policy is safe does not depend on who answers just now.
		if hosts.Unprotected = unavailable(snapshot.Calico); hosts.Unprotected == nil {
			hosts.render()
		}
	}
	return hosts
}

// ask takes what is undecided. Where the rules are in force it is only noted: who is
// cut off now is cut off already, and what follows must go on, since nodes join.
func (h *Hosts) ask(undecided []Held, inForce bool) {
	if !inForce {
		h.Undecided = undecided
		return
	}
	for _, held := range undecided {
		h.Notes = append(h.Notes, held.Why)
	}
}

// inForce says whether every node has the rules that are called for, and keeps them.
func (h *Hosts) inForce(policy *Policy, snapshot state.Snapshot) bool {
	return len(h.Whole.Nodes) > 0 && !slices.ContainsFunc(h.Whole.Nodes, func(n calico.Node) bool {
		enactment := EnactmentOf(policy.Name, n.Name, snapshot.Enactments)
		return rollout.PhaseOf(enactment) != v1alpha1.PhaseEnforced || enactment.Status.Ruleset != h.Version
	})
}

// render turns the resolved intent into objects, or says what holds it back.
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

// Rendered says whether there is something to write to the nodes.
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
		// The tier is shared by all policies, a Felix configuration with others.
		if _, tier := object.(*v3.Tier); !tier && !Shared(object) {
			if err := Stamp(object); err != nil {
				return nil, err
			}
		}
	}
	return objects, nil
}

// ProtectsHosts says whether the policy restricts something on nodes.
func (p *Policy) ProtectsHosts() bool {
	return p.Claims() && p.declaresHosts()
}

func (p *Policy) declaresHosts() bool {
	network := p.Spec.Network
	return network != nil && p.Invalid == nil &&
		(network.Unlisted == v1alpha1.UnlistedDeny || len(onHosts(p)) > 0)
}

// claimsHosts says whether younger policies must leave its nodes to it. They must
// also while it is taken back: that is for an emergency, and no occasion.
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

// obstacle returns why nothing can protect the nodes of this cluster, as far as
// that is known for sure.
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

// unavailable returns why Calico, which may well be there, can not be used now.
func unavailable(cluster state.Calico) *Obstacle {
	switch {
	case cluster.Problem != "":
		return &Obstacle{v1alpha1.ReasonCalicoUnavailable, cluster.Problem}
	case cluster.Mode == state.CalicoUnknown:
		return &Obstacle{v1alpha1.ReasonCalicoUnavailable, "It is being found out whether Calico is there"}
	}
	return nil
}

// selectedNodes returns the nodes whose hosts the policy protects, and those
// that an older policy does.
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
