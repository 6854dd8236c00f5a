// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

func TestLabelSelectorMatchesLikeThatOfKubernetes(t *testing.T) {
	type sets = []labels.Set
	labelled := func(key string, value v1alpha1.LabelValue) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: value}}
	}
	required := func(key, operator string, values ...v1alpha1.LabelValue) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelSelectorRequirement{{
			Key: key, Operator: v1alpha1.LabelSelectorOperator(operator), Values: values,
		}}}
	}
	both := required("tier", "Exists")
	both.MatchLabels = labelled("app", "web").MatchLabels
	tests := map[string]struct {
		selector     v1alpha1.LabelSelector
		matches, not sets
	}{
		"A label must have the exact value":              {labelled("app", ""), sets{{"app": ""}}, sets{{}, {"app": "x"}}},
		"In matches each of the values":                  {required("zone", "In", "a", "b"), sets{{"zone": "a"}, {"zone": "b"}}, sets{{}, {"zone": "c"}}},
		"NotIn matches objects without the label":        {required("zone", "NotIn", "a"), sets{{}, {"zone": "b"}}, sets{{"zone": "a"}}},
		"Exists matches any value":                       {required("zone", "Exists"), sets{{"zone": ""}}, sets{{}}},
		"DoesNotExist matches objects without the label": {required("zone", "DoesNotExist"), sets{{}}, sets{{"zone": "a"}}},
		"Labels and expressions must all hold":           {both, sets{{"app": "web", "tier": ""}}, sets{{"app": "web"}, {"tier": ""}}},
		"An empty selector matches every object":         {v1alpha1.LabelSelector{}, sets{{}, {"app": "web"}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			selector, err := test.selector.Compile()
			g.Expect(err).NotTo(HaveOccurred())
			for _, set := range test.matches {
				g.Expect(selector.Matches(set)).To(BeTrue(), "%v", set)
			}
			for _, set := range test.not {
				g.Expect(selector.Matches(set)).To(BeFalse(), "%v", set)
			}
		})
	}
}

func TestSelectorWithABadKeyIsAnErrorThatNamesIt(t *testing.T) {
	_, err := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"-bad-": "x"}}.Compile()
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring(`"-bad-"`)))
}
