// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// wall is the smallest backend that a rollout needs, with two kinds: Rules are the rules of
// one version, and a Gate lets the rules of one version act on a node. There are no sets of
// addresses, no failsafe ports, and no objects of others.
type wall struct {
	backend.Unknown
	objects map[string]*unstructured.Unstructured
}

const versionLabel = "wall.test/version"

func (wall) Availability() backend.Availability { return backend.Availability{Readable: true} }

func (w wall) Objects() (objects []backend.Object) {
	for _, name := range slices.Sorted(maps.Keys(w.objects)) {
		objects = append(objects, w.objects[name])
	}
	return objects
}

func (w wall) HostEndpoints() (endpoints []backend.Endpoint) {
	for _, object := range w.Objects() {
		if traits := backend.TraitsOf(object); traits.Stage == backend.StageEndpoints {
			endpoints = append(endpoints, backend.Endpoint{
				Name: object.GetName(), Node: traits.Node, Interface: backend.EveryInterface, RulesFor: backend.EveryInterface, Managed: true,
				Policy: object.GetLabels()[v1alpha1.LabelPolicy], Version: traits.Version, Enforcing: true,
			})
		}
	}
	return endpoints
}

func (w wall) RuleInterfaces(policy, version string) []string {
	if w.objects["rules-"+policy+"-"+version] == nil {
		return nil
	}
	return []string{""}
}

func (wall) EndpointInterfaces(backend.Hosts) []string { return []string{backend.EveryInterface} }

func (wall) WithRulesets(hosts backend.Hosts) backend.Hosts {
	hash := fnv.New32a()
	fmt.Fprint(hash, hosts.Components)
	hosts.Version, hosts.Nodes = fmt.Sprintf("%08x", hash.Sum32()), slices.Clone(hosts.Nodes)
	for i := range hosts.Nodes {
		hosts.Nodes[i].Ruleset = rollout.Ruleset{Version: hosts.Version}
	}
	return hosts
}

func (w wall) Render(hosts backend.Hosts) ([]backend.Object, error) {
	rules := wallObject("Rules", "rules-"+hosts.Policy+"-"+hosts.Version, hosts.Policy, hosts.Version, map[string]any{
		"components": fmt.Sprint(hosts.Components),
	})
	return append([]backend.Object{rules}, w.RenderEndpoints(hosts)...), nil
}

func (wall) RenderEndpoints(hosts backend.Hosts) (gates []backend.Object) {
	for _, node := range hosts.Nodes {
		if node.Ruleset.Restricts() {
			gates = append(gates, wallObject("Gate", "gate-"+node.Name, hosts.Policy, node.Ruleset.Version, map[string]any{"node": node.Name}))
		}
	}
	return gates
}

func wallObject(kind, name, policy, version string, spec map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "wall.test", Version: "v1", Kind: kind})
	object.SetName(name)
	object.SetLabels(map[string]string{v1alpha1.LabelPolicy: policy, versionLabel: version})
	return object
}

// wallKinds are the kinds of the wall.
type wallKinds struct{}

func init() { backend.Register(wallKinds{}) }

func (wallKinds) Names() []string { return []string{"Rules", "Gate"} }

func (wallKinds) Traits(object backend.Object) (backend.Traits, bool) {
	u, is := object.(*unstructured.Unstructured)
	if !is || u.GroupVersionKind().Group != "wall.test" {
		return backend.Traits{}, false
	}
	traits := backend.Traits{Kind: u.GroupVersionKind(), Stage: backend.StageRules, Version: u.GetLabels()[versionLabel]}
	if u.GetKind() == "Gate" {
		traits.Stage = backend.StageEndpoints
		traits.Node, _, _ = unstructured.NestedString(u.Object, "spec", "node")
	}
	return traits, true
}

func (wallKinds) Content(object backend.Object) (map[string]any, error) {
	return object.(*unstructured.Unstructured).DeepCopy().Object, nil
}

func (wallKinds) HasNameFor(backend.Object, string) bool { return false }

func (wallKinds) Merge(_, _ backend.Object) (backend.Object, bool, bool) { return nil, false, false }

// wallJudge returns the cuts that the test sets.
type wallJudge struct{ cuts []verify.Cut }

func (wallJudge) WhyUnjudged(plan.Hosts, backend.Live) (reason, why string) { return "", "" }

func (j *wallJudge) CheckLockout(plan.RequiredFlows, []verify.Node, backend.Live, drift.Diff) verify.LockoutReport {
	return verify.LockoutReport{Cuts: j.cuts}
}

func (wallJudge) Warnings(plan.Hosts, []verify.Node, backend.Live, drift.Diff) []string { return nil }

func (wallJudge) HostsEffective(plan.Hosts, backend.Live) verify.Verdict { return verify.Verdict{} }

// newWallLoop is a cluster behind a wall: five control-plane nodes, of which
// etcd can spare two.
func newWallLoop(t *testing.T) (*loop, *wallJudge) {
	w, judge := newLoop(t, 1), &wallJudge{}
	w.judge, w.there.Backend = judge, wall{}
	w.put = func(object plan.Object, gone bool) {
		objects := maps.Clone(w.there.Backend.(wall).objects)
		if objects == nil {
			objects = map[string]*unstructured.Unstructured{}
		}
		delete(objects, object.GetName())
		if !gone {
			objects[object.GetName()] = object.(*unstructured.Unstructured)
		}
		w.there.Backend = wall{objects: objects}
	}
	w.there.Policies[0].Spec.Rollout.MaxUnavailable, w.there.Policies[0].Spec.Rollout.SoakSeconds = 2, ptr.To[int32](20)
	for i, name := range []string{"cp-4", "cp-5"} {
		w.there.Nodes = append(w.there.Nodes, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}},
			Status: corev1.NodeStatus{
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
				Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.0.1.%d", i+1)}},
			},
		})
	}
	return w, judge
}

// phasesOf returns the phases of the nodes.
func (w *loop) phasesOf() map[string]string {
	phases := map[string]string{}
	for i := range w.there.Enactments {
		phases[w.there.Enactments[i].Spec.Node] = rollout.PhaseOf(&w.there.Enactments[i])
	}
	return phases
}

// until takes steps until the condition holds.
func (w *loop) until(what string, is func() bool) {
	w.t.Helper()
	for range 400 {
		if is() {
			return
		}
		w.step()
	}
	w.fail("never: %s: %v", what, w.phasesOf())
}

// A backend needs nothing beside the interfaces: a rollout goes through all phases on a
// backend that has nothing in common with Calico.
func TestRolloutOnAnotherBackend(t *testing.T) {
	g := NewWithT(t)
	w, judge := newWallLoop(t)
	gates := func() (versions map[string]string) {
		versions = map[string]string{}
		for _, e := range w.there.Backend.HostEndpoints() {
			versions[e.Node] = e.Version
		}
		return versions
	}
	all := func(phase string) func() bool {
		return func() bool {
			phases := slices.Collect(maps.Values(w.phasesOf()))
			return len(phases) == 5 && !slices.ContainsFunc(phases, func(is string) bool { return is != phase })
		}
	}

	cut := []verify.Cut{{Name: "etcd-peers", Flow: "tcp/2380", Decision: verify.Denied, Why: "a rule"}}
	judge.cuts = cut
	for range 10 {
		w.step()
	}
	g.Expect(gates()).To(BeEmpty(), "nothing is written that cuts a required flow")
	judge.cuts = nil
	w.until("every node has the rules", all(v1alpha1.PhaseEnforced))
	first := gates()
	g.Expect(first).To(HaveLen(5))

	// Two nodes try new rules. One of them fails: both have the old rules again, and no other
	// node tries.
	w.there.Policies[0].Spec.Network.Components = append(w.there.Policies[0].Spec.Network.Components, v1alpha1.Component{
		Name: "scheduler", AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}},
	})
	w.there.Policies[0].Generation++
	inTrial := func() (nodes []string) {
		for node, phase := range w.phasesOf() {
			if phase == v1alpha1.PhaseProgressing && gates()[node] != first[node] {
				nodes = append(nodes, node)
			}
		}
		slices.Sort(nodes)
		return nodes
	}
	w.until("two nodes try the new rules", func() bool { return len(inTrial()) == 2 })
	failing := inTrial()[0]
	w.run(2)
	w.ready(failing, corev1.ConditionFalse)
	judge.cuts = cut // which holds up no roll back
	w.until("both have been rolled back", func() bool {
		return w.phasesOf()[failing] == v1alpha1.PhaseReverted && maps.Equal(gates(), first)
	})
	g.Expect(w.there.Backend.RuleInterfaces("p", first[failing])).NotTo(BeEmpty(), "the old rules stayed all the while")

	judge.cuts = nil
	w.ready(failing, corev1.ConditionTrue)
	w.there.Policies[0].Generation++ // what failed is tried again
	w.until("every node has the new rules", func() bool { return all(v1alpha1.PhaseEnforced)() && gates()[failing] != first[failing] })
	g.Expect(w.phases).To(HaveLen(5), "all phases: %v", w.phases)
	w.until("the old rules are gone", func() bool { return len(w.there.Backend.Objects()) == 5+1 })
}

// ready sets whether a node is ready.
func (w *loop) ready(node string, status corev1.ConditionStatus) {
	for i := range w.there.Nodes {
		if w.there.Nodes[i].Name == node {
			w.there.Nodes[i].Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		}
	}
}
