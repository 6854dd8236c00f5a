// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/monitoring/scrape"
)

// In a healthy cluster no alert holds, and every metric arrives in Prometheus.
func TestNoAlertHoldsInAHealthyCluster(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(time.Minute)
	endpoint, _ := serveMetrics(t, healthy.enter(t))
	p := scrape.StartPrometheus(t, endpoint.Config(t))
	g.Eventually(func() ([]scrape.Sample, error) { return p.Query(`rate(cpnp_probe_attempts_total[1m]) > 0`) }).ShouldNot(BeEmpty())
	quiet := func(g Gomega) {
		rules, err := p.Rules()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(rules).To(HaveLen(len(alertNames(t))))
		for _, r := range rules {
			g.Expect(r.Health).To(Equal("ok"), "%s: %s", r.Name, r.LastError)
			if r.Name == "CpnpDriftContested" {
				continue // this world has drift all the time, so that drift can be counted
			}
			g.Expect(r.Alerts).To(BeEmpty(), r.Name)
		}
	}
	g.Eventually(quiet).Should(Succeed())
	g.Consistently(quiet).WithTimeout(3 * time.Second).WithPolling(500 * time.Millisecond).Should(Succeed())

	for _, name := range metricNames(t) {
		g.Expect(p.CheckQueries([]string{name})).To(BeEmpty())
	}
	for _, name := range []string{"probe_connect", "probe_handshake", "verification"} {
		classic, err := p.Query("cpnp_" + name + "_duration_seconds_bucket")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(classic).NotTo(BeEmpty())
		native, err := p.Query("cpnp_" + name + "_duration_seconds")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(native).To(ContainElement(HaveField("Histogram", Not(BeEmpty()))), "a native histogram")
	}
}

// In a cluster in which everything is wrong, the expression of every alert holds, and its texts are complete.
func TestEveryAlertHoldsInABrokenCluster(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(time.Minute)
	endpoint, stop := serveMetrics(t, broken.enter(t))
	p := scrape.StartPrometheus(t, endpoint.Config(t))
	g.Eventually(func() ([]scrape.Sample, error) { return p.Query(`cpnp_build_info`) }).ShouldNot(BeEmpty())
	held := map[string]bool{}
	all := func(g Gomega) {
		rules, err := p.Rules()
		g.Expect(err).NotTo(HaveOccurred())
		for _, r := range rules {
			g.Expect(r.Health).To(BeElementOf("ok", "unknown"), "%s: %s", r.Name, r.LastError)
			for _, a := range r.Alerts {
				held[r.Name] = true
				for _, text := range a.Annotations {
					g.Expect(text).NotTo(Or(ContainSubstring("<no value>"), ContainSubstring("{{"), ContainSubstring("error")), r.Name)
				}
			}
		}
		for _, name := range alertNames(t) {
			if name != "CpnpOperatorAbsent" {
				g.Expect(held).To(HaveKey(name))
			}
		}
	}
	g.Eventually(all).Should(Succeed())
	stop()
	g.Eventually(func(g Gomega) {
		absent, err := p.Query("absent(cpnp_build_info)")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(absent).NotTo(BeEmpty())
		all(g)
		g.Expect(held).To(HaveKey("CpnpOperatorAbsent"))
	}).Should(Succeed())
}

// A query for an unknown metric is found, and so are metrics that Prometheus rejects.
// Without the token, or without the right server name, no metrics are served.
func TestWrongQueriesAndScrapesAreFound(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(30 * time.Second)
	endpoint, _ := serveMetrics(t, healthy.enter(t))
	p := scrape.StartPrometheus(t, endpoint.Config(t))
	g.Eventually(func() []string { return p.CheckQueries([]string{"cpnp_build_info"}) }).Should(BeEmpty())
	problems := p.CheckQueries([]string{
		"cpnp_build_info", "cpnp_bild_info", `cpnp_policy_condition{typ="Ready"}`, "sum by (policy) cpnp_policy_condition)",
	})
	g.Expect(problems).To(HaveExactElements(
		"cpnp_bild_info: no data", `cpnp_policy_condition{typ="Ready"}: no data`, ContainSubstring("parse error"),
	))
	stranger, impostor := endpoint, endpoint
	stranger.TokenFile = filepath.Join(t.TempDir(), "token")
	g.Expect(os.WriteFile(stranger.TokenFile, []byte("another token"), 0o600)).To(Succeed())
	impostor.ServerName = "cpnp-operator-metrics.other.svc"
	for answer, wrong := range map[string]scrape.Endpoint{"401": stranger, "certificate": impostor} {
		p := scrape.StartPrometheus(t, wrong.Config(t))
		g.Eventually(p.Targets).
			Should(ContainElement(And(HaveField("Health", "down"), HaveField("LastError", ContainSubstring(answer)))))
	}
}

// metricNames returns the operator's metrics as docs/metrics.md lists them. A histogram has its name as a native one.
func metricNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(scrape.ReadFile(t, "docs/metrics.md")) {
		if rest, is := strings.CutPrefix(line, "| `cpnp_"); is {
			name, _, _ := strings.Cut(rest, "`")
			names = append(names, "cpnp_"+name)
		}
	}
	NewWithT(t).Expect(len(names)).To(BeNumerically(">", 15))
	return names
}
