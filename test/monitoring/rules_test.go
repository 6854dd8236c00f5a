// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/test/monitoring/scrape"
)

var rulesFile, casesFile = scrape.File("config/monitoring/rules.yaml"), scrape.File("config/monitoring/rules_test.yaml")

func TestPromtoolAcceptsTheRules(t *testing.T) {
	for _, arguments := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", rulesFile}, {"test", "rules", casesFile}} {
		out, err := exec.CommandContext(t.Context(), scrape.Promtool(t), arguments...).CombinedOutput()
		NewWithT(t).Expect(err).NotTo(HaveOccurred(), string(out))
	}
}

// Every alert has a case in which it fires, and one in which it does not.
func TestEveryAlertHasCases(t *testing.T) {
	g := NewWithT(t)
	var cases struct {
		Tests []struct {
			Cases []struct {
				Expression string `json:"expr"`
				Samples    []struct {
					Labels string `json:"labels"`
				} `json:"exp_samples"`
			} `json:"promql_expr_test"`
		} `json:"tests"`
	}
	text, err := os.ReadFile(casesFile)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(yaml.Unmarshal(text, &cases)).To(Succeed())
	for _, alert := range alertNames(t) {
		fires, not := 0, 0
		for _, test := range cases.Tests {
			for _, c := range test.Cases {
				if !strings.Contains(c.Expression, `alertname="`+alert+`"`) && !strings.Contains(c.Expression, "CpnpCertificateExpir(ing|esSoon)") {
					continue
				}
				if len(c.Samples) == 0 {
					not++
				}
				for _, s := range c.Samples {
					if strings.Contains(s.Labels, `alertname="`+alert+`"`) && strings.Contains(s.Labels, `alertstate="firing"`) {
						fires++
					}
				}
			}
		}
		g.Expect(fires).To(BeNumerically(">", 0), "%s has no case in which it fires", alert)
		g.Expect(not).To(BeNumerically(">", 0), "%s has no case in which it does not fire", alert)
	}
}

// alertNames returns the names of the alerts.
func alertNames(t *testing.T) []string {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(rulesFile)
	g.Expect(err).NotTo(HaveOccurred())
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert string `json:"alert"`
			} `json:"rules"`
		} `json:"groups"`
	}
	g.Expect(yaml.Unmarshal(text, &rules)).To(Succeed())
	var names []string
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			names = append(names, rule.Alert)
		}
	}
	g.Expect(len(names)).To(BeNumerically(">", 20))
	return names
}
