// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// world is one state of the cluster, and what was wrong in those before it.
type world struct {
	policy  string
	objects map[string]map[string]*unstructured.Unstructured // by kind and name
	rules   map[string][]string                              // by version, what there was when a node first got it
	wrong   []string
}

func newWorld(policy string, there []change) *world {
	w := &world{policy: policy, objects: map[string]map[string]*unstructured.Unstructured{}, rules: map[string][]string{}}
	for _, c := range there {
		w.put(c)
	}
	return w
}

// judge returns what was wrong in any of the states that these changes led to.
func (w *world) judge(changes []change) []string {
	w.wrong = nil
	for _, c := range changes {
		w.next(c)
	}
	return w.wrong
}

func (w *world) put(c change) (was *unstructured.Unstructured) {
	if w.objects[c.resource] == nil {
		w.objects[c.resource] = map[string]*unstructured.Unstructured{}
	}
	key := c.object.GetNamespace() + "/" + c.object.GetName()
	was = w.objects[c.resource][key]
	if c.gone {
		delete(w.objects[c.resource], key)
	} else {
		w.objects[c.resource][key] = c.object
	}
	return was
}

func (w *world) fail(c change, format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf("%d: %s", c.version, fmt.Sprintf(format, args...)))
}

// next goes on to the next state, and sees that nothing is wrong in it.
func (w *world) next(c change) {
	was := w.put(c)
	switch c.resource {
	case "controlplanenodeenactments":
		w.oneAtATime(c)
	case "hostendpoints":
		w.endpoint(c, was)
	case "felixconfigurations":
		w.failsafes(c, was)
	case "globalnetworkpolicies":
		w.rulesStay(c)
	case "globalnetworksets":
		w.peersStay(c, was)
	case "controlplanenetworkpolicies":
		w.promise(c, was)
		w.upToDate(c, was)
		w.leavesNothing(c)
	}
}

func (w *world) records() []v1alpha1.ControlPlaneNodeEnactment {
	var all []v1alpha1.ControlPlaneNodeEnactment
	for _, object := range w.objects["controlplanenodeenactments"] {
		var e v1alpha1.ControlPlaneNodeEnactment
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &e); err != nil {
			panic(err)
		}
		if e.Spec.Policy == w.policy {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.ControlPlaneNodeEnactment) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (w *world) recordOf(node string) *v1alpha1.ControlPlaneNodeEnactment {
	for _, e := range w.records() {
		if e.Spec.Node == node {
			return &e
		}
	}
	return nil
}

// oneAtATime: at most one node is under way.
func (w *world) oneAtATime(c change) {
	var under []string
	for _, e := range w.records() {
		if rollout.PhaseOf(&e) == v1alpha1.PhaseProgressing {
			under = append(under, e.Spec.Node)
		}
	}
	if len(under) > 1 {
		w.fail(c, "%v are under way", under)
	}
}

func versionOf(object *unstructured.Unstructured) string {
	if object == nil || object.GetLabels()[calico.LabelEnforced] != "true" {
		return ""
	}
	return object.GetLabels()[calico.LabelVersion]
}

func (w *world) ours(object *unstructured.Unstructured) bool {
	return object != nil && object.GetLabels()[v1alpha1.LabelPolicy] == w.policy
}

// narrow says whether the failsafe ports of a node are.
func (w *world) narrow(node string) bool {
	felix := w.objects["felixconfigurations"]["/"+calico.FelixConfigurationName(node)]
	if !w.ours(felix) {
		return false
	}
	_, narrow, _ := unstructured.NestedSlice(felix.Object, "spec", "failsafeInboundHostPorts")
	return narrow
}

// endpoint: a node gets no rules but those that are on record, and only when they are
// there.
func (w *world) endpoint(c change, was *unstructured.Unstructured) {
	version := versionOf(c.object)
	if c.gone || !w.ours(c.object) || version == "" || version == versionOf(was) {
		return
	}
	node, _, _ := unstructured.NestedString(c.object.Object, "spec", "node")
	e := w.recordOf(node)
	if e == nil {
		w.fail(c, "%s gets rules %s, and nothing is on record", node, version)
		return
	}
	wanted := rollout.RulesetFor(e).Version
	if version != wanted && version != e.Status.PreviousRuleset {
		w.fail(c, "%s gets rules %s, and on record it is %s with %q", node, version, rollout.PhaseOf(e), wanted)
	}
	if w.narrow(node) {
		w.fail(c, "%s gets rules %s, and its failsafe ports are narrow", node, version)
	}
	there := w.rulesOf(version)
	if w.rules[version] == nil {
		w.rules[version] = there
	}
	for _, part := range append(w.rules[version], "allow-", "deny-") {
		if !slices.ContainsFunc(there, func(name string) bool { return strings.Contains(name, part) }) {
			w.fail(c, "%s gets rules %s, of which there are %v, without %s", node, version, there, part)
		}
	}
}

func (w *world) rulesOf(version string) []string {
	names := []string{}
	for _, object := range w.objects["globalnetworkpolicies"] {
		if w.ours(object) && object.GetLabels()[calico.LabelVersion] == version {
			names = append(names, object.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// failsafes: they are narrowed only where that is on record.
func (w *world) failsafes(c change, was *unstructured.Unstructured) {
	node := calico.NodeOfFelixConfiguration(c.object.GetName())
	_, narrow, _ := unstructured.NestedSlice(c.object.Object, "spec", "failsafeInboundHostPorts")
	before := false
	if was != nil {
		_, before, _ = unstructured.NestedSlice(was.Object, "spec", "failsafeInboundHostPorts")
	}
	if c.gone || !w.ours(c.object) || !narrow || before {
		return
	}
	e := w.recordOf(node)
	if !rollout.RulesetFor(e).FailsafesScoped {
		w.fail(c, "the failsafe ports of %s are narrowed, and on record it is %s", node, rollout.PhaseOf(e))
	}
}

// rulesStay: they stay as long as a node has them.
func (w *world) rulesStay(c change) {
	version := c.object.GetLabels()[calico.LabelVersion]
	if !c.gone || !w.ours(c.object) {
		return
	}
	for _, endpoint := range w.objects["hostendpoints"] {
		if w.ours(endpoint) && versionOf(endpoint) != "" && (version == "" || versionOf(endpoint) == version) {
			w.fail(c, "%s goes, and %s still needs it", c.object.GetName(), endpoint.GetName())
		}
	}
}

// peersStay: as long as a node has rules that name a set, the set goes on to hold every
// node that is there and was in it. A set that nobody is in lets nobody in.
func (w *world) peersStay(c change, was *unstructured.Unstructured) {
	peer := c.object.GetLabels()[calico.LabelPeer]
	if was == nil || !w.ours(c.object) || !w.named(fmt.Sprintf("%s == '%s'", calico.LabelPeer, peer)) {
		return
	}
	now := map[string]bool{}
	for _, object := range w.objects["globalnetworksets"] {
		if w.ours(object) && object.GetLabels()[calico.LabelPeer] == peer {
			nets, _, _ := unstructured.NestedStringSlice(object.Object, "spec", "nets")
			for _, net := range nets {
				now[net] = true
			}
		}
	}
	before, _, _ := unstructured.NestedStringSlice(was.Object, "spec", "nets")
	for _, node := range w.objects["nodes"] {
		addresses, _, _ := unstructured.NestedSlice(node.Object, "status", "addresses")
		for _, each := range addresses {
			address, _ := each.(map[string]any)
			net := fmt.Sprint(address["address"], "/32")
			if slices.Contains(before, net) && !now[net] {
				w.fail(c, "%s is not in the set %s any more, which nodes with rules let in", node.GetName(), peer)
			}
		}
	}
}

// named says whether rules that a node has name something.
func (w *world) named(what string) bool {
	for _, rules := range w.objects["globalnetworkpolicies"] {
		version := rules.GetLabels()[calico.LabelVersion]
		if !w.ours(rules) || version == "" || !strings.Contains(fmt.Sprint(rules.Object["spec"]), what) {
			continue
		}
		for _, endpoint := range w.objects["hostendpoints"] {
			if w.ours(endpoint) && versionOf(endpoint) == version {
				return true
			}
		}
	}
	return false
}

// leavesNothing: with the policy, everything is gone that was written for it, unless it
// is to stay.
func (w *world) leavesNothing(c change) {
	if !c.gone || c.object.GetName() != w.policy {
		return
	}
	if policyOf(c.object).Spec.DeletionPolicy == v1alpha1.DeletionOrphan {
		return
	}
	for resource, objects := range w.objects {
		for _, object := range objects {
			taints, _, _ := unstructured.NestedSlice(object.Object, "spec", "taints")
			tainted := slices.ContainsFunc(taints, func(taint any) bool {
				t, _ := taint.(map[string]any)
				return t["policy"] == w.policy || t["key"] == testbed.ControlPlaneRole && strings.HasPrefix(object.GetName(), w.policy+"-")
			})
			recorded := strings.Contains(object.GetAnnotations()[v1alpha1.AnnotationRecord], `"policy":"`+w.policy+`"`)
			named := resource == "networkpolicies" && strings.HasPrefix(object.GetName(), state.NetworkPolicyPrefix+w.policy+".")
			if resource != "controlplanenodeenactments" && (w.ours(object) || recorded || tainted || named) {
				w.fail(c, "the policy is gone, and %s %s is not", resource, object.GetName())
			}
		}
	}
}
