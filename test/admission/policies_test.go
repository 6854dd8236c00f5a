// SPDX-License-Identifier: Apache-2.0

// Package admission evaluates the shipped admission policies without an API server,
// with the API server's CEL. test/stolen tries the policies on a real API server.
package admission

import (
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

type policySpec = admissionregistrationv1.ValidatingAdmissionPolicySpec

// readPolicy returns an admission policy from a file.
func readPolicy(t *testing.T, file, name string) policySpec {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		policy := admissionregistrationv1.ValidatingAdmissionPolicy{}
		g.Expect(yaml.Unmarshal([]byte(document), &policy)).To(Succeed())
		if policy.Kind == "ValidatingAdmissionPolicy" && policy.Name == name {
			return policy.Spec
		}
	}
	t.Fatalf("no policy %s in %s", name, file)
	return policySpec{}
}

// parseObject returns an object of Calico from YAML; nil for no text.
func parseObject(t *testing.T, text string) runtime.Object {
	t.Helper()
	if text == "" {
		return nil
	}
	o := &unstructured.Unstructured{}
	NewWithT(t).Expect(yaml.Unmarshal([]byte(text), &o.Object)).To(Succeed())
	return o
}

// change is a write to an object of Calico: the object before and after, in YAML.
type change struct{ resource, before, after string }

// compile returns the evaluator of expressions that may use the variables of a policy.
func compile(t *testing.T, policy *policySpec, expressions []string) cel.ConditionEvaluator {
	t.Helper()
	g := NewWithT(t)
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	g.Expect(err).NotTo(HaveOccurred())
	for _, v := range policy.Variables {
		result := compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression},
			cel.OptionalVariableDeclarations{}, environment.StoredExpressions)
		g.Expect(result.Error).To(BeNil(), v.Name)
	}
	var accessors []cel.ExpressionAccessor
	for _, e := range expressions {
		accessors = append(accessors, &validating.ValidationCondition{Expression: e})
	}
	evaluator := compiler.CompileCondition(accessors, cel.OptionalVariableDeclarations{}, environment.StoredExpressions)
	g.Expect(evaluator.CompilationErrors()).To(BeEmpty())
	return evaluator
}

// evaluate returns for each expression whether it is true of a change.
func evaluate(t *testing.T, policy *policySpec, c change, expressions ...string) []bool {
	t.Helper()
	g := NewWithT(t)
	operation, before, after := admission.Update, parseObject(t, c.before), parseObject(t, c.after)
	if after == nil {
		operation = admission.Delete
	}
	if before == nil {
		operation = admission.Create
	}
	gvr := schema.GroupVersionResource{Group: "projectcalico.org", Version: "v3", Resource: c.resource}
	gvk := gvr.GroupVersion().WithKind("Any")
	attributes := admission.NewAttributesRecord(after, before, gvk, "", "", gvr, "", operation, nil, false, &user.DefaultInfo{Name: "somebody"})
	versioned := &admission.VersionedAttributes{
		Attributes: attributes, VersionedKind: gvk,
		VersionedObject: admission.NewLazyObject(after), VersionedOldObject: admission.NewLazyObject(before),
	}
	request := cel.CreateAdmissionRequest(attributes, metav1.GroupVersionResource(gvr), metav1.GroupVersionKind(gvk))
	results, _, err := compile(t, policy, expressions).ForInput(
		t.Context(), versioned, request, cel.OptionalVariableBindings{}, nil, celconfig.RuntimeCELCostBudget)
	g.Expect(err).NotTo(HaveOccurred())
	var hold []bool
	for _, result := range results {
		g.Expect(result.Error).NotTo(HaveOccurred())
		hold = append(hold, result.EvalResult.Value() == true)
	}
	return hold
}

// admits tells whether every validation of a policy admits a change.
func admits(t *testing.T, policy *policySpec, c change) bool {
	t.Helper()
	var expressions []string
	for _, v := range policy.Validations {
		expressions = append(expressions, v.Expression)
	}
	for _, holds := range evaluate(t, policy, c, expressions...) {
		if !holds {
			return false
		}
	}
	return true
}

// matches tells whether a condition of a policy is true of a change.
func matches(t *testing.T, policy *policySpec, condition string, c change) bool {
	t.Helper()
	for _, m := range policy.MatchConditions {
		if m.Name == condition {
			return evaluate(t, policy, c, m.Expression)[0]
		}
	}
	t.Fatalf("no condition %s", condition)
	return false
}
