// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

// alert is an alert of config/monitoring/rules.yaml.
type alert struct {
	Alert       string            `json:"alert"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(filepath.Join(root, "config/monitoring/rules.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	var rules struct {
		Groups []struct {
			Rules []alert `json:"rules"`
		} `json:"groups"`
	}
	g.Expect(yaml.Unmarshal(text, &rules)).To(Succeed())
	var alerts []alert
	for _, group := range rules.Groups {
		alerts = append(alerts, group.Rules...)
	}
	g.Expect(len(alerts)).To(BeNumerically(">", 20))
	return alerts
}

// Every alert has a page, every page an alert, and the index has the severity and the time of
// each alert.
func TestAlertsHaveRunbooks(t *testing.T) {
	g := NewWithT(t)
	const repository = "https://github.com/cpnp-dev/cpnp-operator/blob/main/"
	pages := readPages(t)
	index := pages["docs/runbooks/README.md"]
	known := map[string]bool{"docs/runbooks/README.md": true}
	for _, a := range readAlerts(t) {
		name := "docs/runbooks/" + a.Alert + ".md"
		known[name] = true
		g.Expect(pages).To(HaveKey(name))
		g.Expect(page.FindLinks(index)).To(ContainElement(a.Alert + ".md"))
		after := a.For
		if after == "" {
			after = "at once"
		}
		g.Expect(index).To(ContainSubstring("| [" + a.Alert + "](" + a.Alert + ".md) | " + a.Labels["severity"] + " | " + after + " |"))
		g.Expect(a.Annotations).To(And(HaveLen(3), HaveKeyWithValue("runbook_url", repository+name)), a.Alert)
		g.Expect(a.Labels).To(HaveLen(1))
		g.Expect(a.Labels["severity"]).To(BeElementOf("critical", "warning"))
		g.Expect(a.Annotations["summary"]).NotTo(Or(BeEmpty(), HaveSuffix(".")), a.Alert)
		g.Expect(a.Annotations["description"]).To(HaveSuffix("."), a.Alert)
	}
	for name := range pages {
		if strings.HasPrefix(name, "docs/runbooks/") {
			g.Expect(known).To(HaveKey(name), "the page has no alert")
		}
	}
}

// A runbook answers the same questions in the same order, and has commands.
func TestRunbooksHaveOneForm(t *testing.T) {
	g := NewWithT(t)
	headings := regexp.MustCompile(`(?m)^#+ .*$`)
	for _, a := range readAlerts(t) {
		text := readPages(t)["docs/runbooks/"+a.Alert+".md"]
		g.Expect(headings.FindAllString(text, -1)).To(Equal([]string{
			"# " + a.Alert, "## What it means", "## What to look at", "## What to do", "## When it is no problem",
		}))
		g.Expect(text).To(ContainSubstring("```sh\nkubectl "), a.Alert)
	}
}
