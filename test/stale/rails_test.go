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

// world is one state of the cluster, with the faults of the states before it.
type world struct {
	policy  string
	objects map[string]map[string]*unstructured.Unstructured // by kind and name
	rules   map[string][]string                              // by version: the objects that existed when the first node got the version
	wrong   []string
}

func newWorld(policy string, there []change) *world {
	w := &world{policy: policy, objects: map[string]map[string]*unstructured.Unstructured{}, rules: map[string][]string{}}
	for _, c := range there {
		w.put(c)
	}
	return w
}

// judge returns the faults in all states that these changes led to.
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

// next goes to the next state, and checks it.
func (w *world) next(c change) {
	was := w.put(c)
	switch c.resource {
	case "controlplanenodeenactments":
		w.checkOneInFlight(c)
	case "hostendpoints":
		w.checkEndpoint(c, was)
	case "felixconfigurations":
		w.checkFailsafes(c, was)
	case "globalnetworkpolicies":
		w.checkRulesStay(c)
	case "globalnetworksets":
		w.checkPeersStay(c, was)
	case "controlplanenetworkpolicies":
		w.checkReady(c, was)
		w.checkStatusGeneration(c, was)
		w.checkNothingLeft(c)
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

// checkOneInFlight: at most one node is in flight.
func (w *world) checkOneInFlight(c change) {
	var under []string
	for _, e := range w.records() {
		if rollout.PhaseOf(&e) == v1alpha1.PhaseProgressing {
			under = append(under, e.Spec.Node)
		}
	}
	if len(under) > 1 {
		w.fail(c, "%v are in flight", under)
	}
}

func versionOf(object *unstructured.Unstructured) string {
	if object == nil || object.GetLabels()[calico.LabelEnforced] != "true" {
		return ""
	}
	return object.GetLabels()[calico.LabelVersion]
}

func (w *world) isManaged(object *unstructured.Unstructured) bool {
	return object != nil && object.GetLabels()[v1alpha1.LabelPolicy] == w.policy
}

// isScoped tells whether the failsafe ports of a node are scoped.
func (w *world) isScoped(node string) bool {
	felix := w.objects["felixconfigurations"]["/"+calico.FelixConfigurationName(node)]
	if !w.isManaged(felix) {
		return false
	}
	_, scoped, _ := unstructured.NestedSlice(felix.Object, "spec", "failsafeInboundHostPorts")
	return scoped
}

// checkEndpoint: a node gets only rules that its enactment names, and only once the rules exist.
func (w *world) checkEndpoint(c change, was *unstructured.Unstructured) {
	version := versionOf(c.object)
	if c.gone || !w.isManaged(c.object) || version == "" || version == versionOf(was) {
		return
	}
	node, _, _ := unstructured.NestedString(c.object.Object, "spec", "node")
	e := w.recordOf(node)
	if e == nil {
		w.fail(c, "%s gets rules %s without an enactment", node, version)
		return
	}
	wanted := rollout.RulesetFor(e).Version
	if version != wanted && version != e.Status.PreviousRuleset {
		w.fail(c, "%s gets rules %s, but its enactment is %s with %q", node, version, rollout.PhaseOf(e), wanted)
	}
	if w.isScoped(node) {
		w.fail(c, "%s gets rules %s, and its failsafe ports are scoped", node, version)
	}
	there := w.rulesOf(version)
	if w.rules[version] == nil {
		w.rules[version] = there
	}
	for _, part := range append(w.rules[version], "allow-", "deny-") {
		if !slices.ContainsFunc(there, func(name string) bool { return strings.Contains(name, part) }) {
			w.fail(c, "%s gets rules %s, whose objects are %v, without %s", node, version, there, part)
		}
	}
}

func (w *world) rulesOf(version string) []string {
	names := []string{}
	for _, object := range w.objects["globalnetworkpolicies"] {
		if w.isManaged(object) && object.GetLabels()[calico.LabelVersion] == version {
			names = append(names, object.GetName())
		}
	}
	slices.Sort(names)
	return names
}

// checkFailsafes: failsafe ports are scoped only where the enactment says so.
func (w *world) checkFailsafes(c change, was *unstructured.Unstructured) {
	node := calico.NodeOfFelixConfiguration(c.object.GetName())
	_, scoped, _ := unstructured.NestedSlice(c.object.Object, "spec", "failsafeInboundHostPorts")
	before := false
	if was != nil {
		_, before, _ = unstructured.NestedSlice(was.Object, "spec", "failsafeInboundHostPorts")
	}
	if c.gone || !w.isManaged(c.object) || !scoped || before {
		return
	}
	e := w.recordOf(node)
	if !rollout.RulesetFor(e).FailsafesScoped {
		w.fail(c, "the failsafe ports of %s are scoped, but its enactment is %s", node, rollout.PhaseOf(e))
	}
}

// checkRulesStay: rules stay as long as a node has them.
func (w *world) checkRulesStay(c change) {
	version := c.object.GetLabels()[calico.LabelVersion]
	if !c.gone || !w.isManaged(c.object) {
		return
	}
	for _, endpoint := range w.objects["hostendpoints"] {
		if w.isManaged(endpoint) && versionOf(endpoint) != "" && (version == "" || versionOf(endpoint) == version) {
			w.fail(c, "%s is deleted, and %s still needs it", c.object.GetName(), endpoint.GetName())
		}
	}
}

// checkPeersStay: as long as a node has rules that name a set, the set keeps
// the addresses of all its existing nodes. An empty set would allow nobody.
func (w *world) checkPeersStay(c change, was *unstructured.Unstructured) {
	peer := c.object.GetLabels()[calico.LabelPeer]
	if was == nil || !w.isManaged(c.object) || !w.rulesMention(fmt.Sprintf("%s == '%s'", calico.LabelPeer, peer)) {
		return
	}
	now := map[string]bool{}
	for _, object := range w.objects["globalnetworksets"] {
		if w.isManaged(object) && object.GetLabels()[calico.LabelPeer] == peer {
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
				w.fail(c, "%s is no longer in the set %s, which rules on nodes mention", node.GetName(), peer)
			}
		}
	}
}

// rulesMention tells whether rules that a node has mention a text.
func (w *world) rulesMention(what string) bool {
	for _, rules := range w.objects["globalnetworkpolicies"] {
		version := rules.GetLabels()[calico.LabelVersion]
		if !w.isManaged(rules) || version == "" || !strings.Contains(fmt.Sprint(rules.Object["spec"]), what) {
			continue
		}
		for _, endpoint := range w.objects["hostendpoints"] {
			if w.isManaged(endpoint) && versionOf(endpoint) == version {
				return true
			}
		}
	}
	return false
}

// checkNothingLeft: all objects that were written for the policy are deleted with it, unless the policy orphans them.
func (w *world) checkNothingLeft(c change) {
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
			if resource != "controlplanenodeenactments" && (w.isManaged(object) || recorded || tainted || named) {
				w.fail(c, "the policy is deleted, and %s %s still exists", resource, object.GetName())
			}
		}
	}
}
