// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// selectorEdits change the selectors that a policy is compiled from, each in another way.
func selectorEdits() map[string]edit {
	rule := func(name string, selector v1alpha1.LabelSelector, namespaces *v1alpha1.LabelSelector) v1alpha1.ServiceTrafficPolicy {
		return v1alpha1.ServiceTrafficPolicy{Name: name, Selector: selector, NamespaceSelector: namespaces}
	}
	onPods := func(name string, selector v1alpha1.LabelSelector) v1alpha1.Component {
		return v1alpha1.Component{Name: name, Pods: &v1alpha1.PodSelector{Namespace: "default", Selector: selector}}
	}
	in := func(operator v1alpha1.LabelSelectorOperator, values ...v1alpha1.LabelValue) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelSelectorRequirement{{Key: "zone", Operator: operator, Values: values}}}
	}
	a, b, bad := labelled("app", "a"), labelled("app", "b"), labelled("-bad-", "")
	return map[string]edit{
		"control plane":             func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.NodeSelector = labelled(controlPlane, "") },
		"workers":                   selectsWorkers,
		"no node":                   selectsBadly,
		"in a":                      func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.NodeSelector = in("In", "a") },
		"in a or b":                 func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.NodeSelector = in("In", "a", "b") },
		"not in a":                  func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.NodeSelector = in("NotIn", "a") },
		"no Service":                services(),
		"Services a in b":           services(rule("x", a, &b)),
		"Services a everywhere":     services(rule("x", a, nil)),
		"Services a in every":       services(rule("x", a, &v1alpha1.LabelSelector{})),
		"Services a under another":  services(rule("y", a, nil)),
		"Services a and b":          services(rule("x", a, nil), rule("y", b, nil)),
		"Services b and a":          services(rule("y", b, nil), rule("x", a, nil)),
		"Services of a bad label":   services(rule("x", bad, nil)),
		"the same by another name":  services(rule("z", bad, nil)),
		"no network":                func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Network = nil },
		"pods a":                    components(onPods("x", a)),
		"pods a and b":              components(onPods("x", a), onPods("y", b)),
		"pods of a bad label":       components(onPods("x", bad)),
		"hosts":                     components(v1alpha1.Component{Name: "etcd"}),
		"another status":            func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.ObservedGeneration++ },
		"another mode":              audits,
		"another version, the same": func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.ResourceVersion += "1" },
	}
}

// After any edits in any order, the compiler compiles a policy from its present spec.
func TestCompilerReturnsTheSameAsCompile(t *testing.T) {
	g, random, compiler := NewWithT(t), rand.New(rand.NewPCG(1, 2)), &plan.Compiler{}
	edits := selectorEdits()
	names := slices.Sorted(maps.Keys(edits))
	there := map[string]v1alpha1.ControlPlaneNetworkPolicy{}
	for range 5000 {
		name := fmt.Sprint("policy-", random.IntN(3))
		if random.IntN(10) == 0 {
			delete(there, name)
		} else {
			edited := there[name]
			if edited.Name == "" {
				edited = policy(name)
			}
			edited = *edited.DeepCopy()
			edits[names[random.IntN(len(names))]](&edited)
			there[name] = edited
		}
		var policies []v1alpha1.ControlPlaneNetworkPolicy
		for _, p := range there {
			policies = append(policies, p) // in any order
		}
		compiled, want := compiler.Compile(policies), plan.Compile(policies)
		g.Expect(reflect.DeepEqual(compiled, want)).To(BeTrue(), "%+v\n%+v", compiled, want)
		for i := range compiled {
			g.Expect(compiled[i].ControlPlaneNetworkPolicy).To(BeIdenticalTo(&policies[i]), "a policy of an earlier call")
		}
	}
}

// Services and components may have the same selectors in the same order; the compiler keeps the two apart.
func TestCompilerKeepsServicesAndComponentsApart(t *testing.T) {
	g, compiler := NewWithT(t), &plan.Compiler{}
	a, b := labelled("app", "a"), labelled("app", "b")
	ofServices := policy("p", services(v1alpha1.ServiceTrafficPolicy{Name: "x", Selector: a, NamespaceSelector: &b}))
	ofPods := policy("p", components(
		v1alpha1.Component{Name: "x", Pods: &v1alpha1.PodSelector{Selector: a}},
		v1alpha1.Component{Name: "y", Pods: &v1alpha1.PodSelector{Selector: b}}))
	for _, p := range []v1alpha1.ControlPlaneNetworkPolicy{ofServices, ofPods, ofServices} {
		policies := []v1alpha1.ControlPlaneNetworkPolicy{p}
		g.Expect(reflect.DeepEqual(compiler.Compile(policies), plan.Compile(policies))).To(BeTrue())
	}
}

// The result belongs to the caller: a caller's change does not change later results.
func TestCallersCannotChangeTheCompilersResults(t *testing.T) {
	g, compiler := NewWithT(t), &plan.Compiler{}
	policies := []v1alpha1.ControlPlaneNetworkPolicy{policy("p")}
	changed := policy("p", selectsWorkers)
	compiler.Compile(policies)[0].ControlPlaneNetworkPolicy = &changed
	again := compiler.Compile([]v1alpha1.ControlPlaneNetworkPolicy{changed})
	g.Expect(reflect.DeepEqual(again, plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{changed}))).To(BeTrue())
}

// A change of the status alone does not compile selectors again.
func TestCompilerKeepsSelectors(t *testing.T) {
	g, compiler := NewWithT(t), &plan.Compiler{}
	many := policy("p", selectsWorkers)
	for i := range 16 {
		many.Spec.Services = append(many.Spec.Services, v1alpha1.ServiceTrafficPolicy{Selector: labelled("app", v1alpha1.LabelValue(fmt.Sprint(i)))})
	}
	policies := []v1alpha1.ControlPlaneNetworkPolicy{many}
	anew := testing.AllocsPerRun(20, func() { plan.Compile(policies) })
	again := testing.AllocsPerRun(20, func() {
		policies[0].Status.ObservedGeneration++
		compiler.Compile(policies)
	})
	g.Expect(again).To(BeNumerically("<", anew/10))
}
