// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

// Each file in testdata/refused is one mistake. The comment at its start is the API server's answer:
// every message, one per line, except for the notice that the API server did not evaluate the rules.
//
// Each file in testdata/refused-update is one mistake too, as a change of the
// object in testdata/accepted that has every field of its kind.

// refusal is such a file with the API server's answer.
type refusal struct {
	kind, document string
	errs           []error
}

func refusals(t *testing.T, kinds crd.Kinds) map[string]refusal {
	t.Helper()
	found := map[string]refusal{}
	for name, document := range documents(t, "testdata/refused/*.yaml") {
		_, errs := kinds.Create([]byte(document))
		found["refused/"+name] = refusal{kind(document), document, errs}
	}
	for name, document := range documents(t, "testdata/refused-update/*.yaml") {
		_, errs := kinds.Update([]byte(document), stored(t, kinds, complete[kind(document)]))
		found["refused-update/"+name] = refusal{kind(document), document, errs}
	}
	return found
}

// kind returns the kind of a document that has one of the kinds.
func kind(document string) string {
	_, rest, _ := strings.Cut(document, "\nkind: ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

func TestAPIServerRefusesEachMistakeWithAHelpfulMessage(t *testing.T) {
	refusals := refusals(t, kinds(t))
	NewWithT(t).Expect(len(refusals)).To(BeNumerically(">", 120))
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			var messages []string
			for _, err := range refusal.errs {
				messages = append(messages, err.Error())
			}
			NewWithT(t).Expect(messages).To(Equal(announced(refusal.document)))
		})
	}
}

func TestAPIServerAcceptsAnUpdateThatChangesNothing(t *testing.T) {
	kinds := kinds(t)
	for _, file := range complete {
		document, err := os.ReadFile(filepath.Join("testdata/accepted", file))
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		_, errs := kinds.Update(document, stored(t, kinds, file))
		NewWithT(t).Expect(errs).To(BeEmpty(), file)
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

// rule is a rule of the definition. A type in several places, such as a label
// selector, has the same rules with the same description in each.
type rule struct{ rule, message, description string }

func TestEveryRuleRefusesAFileOfTestdata(t *testing.T) {
	g := NewWithT(t)
	kinds := kinds(t)
	rules, places := map[rule]string{}, map[string][]rule{}
	for name := range complete {
		kindOf(kinds, name).Walk(func(path string, node *structural.Structural) {
			for _, r := range node.XValidations {
				found, place := rule{rule: r.Rule, message: r.Message, description: node.Description}, name+" "+path
				rules[found], places[place] = place, append(places[place], found)
			}
		})
	}
	g.Expect(len(rules)).To(BeNumerically(">", 20))
	for _, refusal := range refusals(t, kinds) {
		for _, err := range refusal.errs {
			var broken *field.Error
			if !errors.As(err, &broken) {
				continue
			}
			for _, r := range places[refusal.kind+" "+crd.SchemaPath(strings.TrimPrefix(broken.Field, "<nil>"))] {
				if r.message == broken.Detail {
					delete(rules, r)
				}
			}
		}
	}
	for untested, place := range rules {
		t.Errorf("no file in testdata breaks the rule %q of %s", untested.rule, place)
	}
}

func TestEveryRuleHasAMessageInWords(t *testing.T) {
	kinds := kinds(t)
	for name := range complete {
		kindOf(kinds, name).Walk(func(path string, node *structural.Structural) {
			for _, r := range node.XValidations {
				if len(strings.Fields(r.Message)) < 5 || strings.Contains(r.Message, "self.") {
					t.Errorf("the rule %q of %s of %s says only %q", r.Rule, path, name, r.Message)
				}
			}
		})
	}
}
