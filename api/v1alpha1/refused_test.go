// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"errors"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

// Each file in testdata/refused is one mistake. Its first lines say, as
// comments, what the API server answers: every message, one to a line. The
// notice that it adds where it did not look at the rules is left out.

func TestAPIServerRefusesEachMistakeAndSaysWhatToWrite(t *testing.T) {
	kinds := kinds(t)
	refused := documents(t, "testdata/refused/*.yaml")
	NewWithT(t).Expect(len(refused)).To(BeNumerically(">", 110))
	for name, document := range refused {
		t.Run(name, func(t *testing.T) {
			_, errs := kinds.Create([]byte(document))
			var messages []string
			for _, err := range errs {
				messages = append(messages, err.Error())
			}
			NewWithT(t).Expect(messages).To(Equal(announced(document)))
		})
	}
}

func announced(document string) []string {
	var messages []string
	for line := range strings.Lines(strings.TrimPrefix(document, "\n")) {
		message, comment := strings.CutPrefix(line, "# ")
		if !comment {
			break
		}
		messages = append(messages, strings.TrimSuffix(message, "\n"))
	}
	return messages
}

// rule is a rule of the definition. The same type in several places, such as a
// label selector, has its rules in each, with the same description.
type rule struct{ rule, message, description string }

func TestEveryRuleRefusesSomethingInTestdata(t *testing.T) {
	g := NewWithT(t)
	kinds := kinds(t)
	rules, places := map[rule]string{}, map[string][]rule{}
	kinds[gvk].Walk(func(path string, node *structural.Structural) {
		for _, r := range node.XValidations {
			found := rule{rule: r.Rule, message: r.Message, description: node.Description}
			rules[found], places[path] = path, append(places[path], found)
		}
	})
	g.Expect(len(rules)).To(BeNumerically(">", 20))
	for _, document := range documents(t, "testdata/refused/*.yaml") {
		_, errs := kinds.Create([]byte(document))
		for _, err := range errs {
			var refusal *field.Error
			if !errors.As(err, &refusal) {
				continue
			}
			for _, r := range places[crd.SchemaPath(strings.TrimPrefix(refusal.Field, "<nil>"))] {
				if r.message == refusal.Detail {
					delete(rules, r)
				}
			}
		}
	}
	for untested, path := range rules {
		t.Errorf("no file in testdata/refused breaks the rule %q of %s", untested.rule, path)
	}
}

func TestEveryRuleHasAMessageInWords(t *testing.T) {
	kinds(t)[gvk].Walk(func(path string, node *structural.Structural) {
		for _, r := range node.XValidations {
			if len(strings.Fields(r.Message)) < 5 || strings.Contains(r.Message, "self.") {
				t.Errorf("the rule %q of %s says only %q", r.Rule, path, r.Message)
			}
		}
	})
}
