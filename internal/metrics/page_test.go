// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md anew")

const (
	page        = "../../docs/metrics.md"
	begin, end  = "<!-- metrics: begin -->\n", "<!-- metrics: end -->\n"
	tableHeader = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n"
)

// The table of docs/metrics.md has every metric of the registry, and no other.
func TestPageHasEveryMetric(t *testing.T) {
	g := NewWithT(t)
	t.Cleanup(func() { metrics.SetPolicies(nil); metrics.SetProbes(nil, nil) })
	recordEverything(size{1, 1, 1, 1}, usualWords)
	families, err := registry.Registry.Gather()
	g.Expect(err).NotTo(HaveOccurred())
	var rows []string
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "cpnp_") {
			continue
		}
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+label.GetName()+"`")
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", family.GetName(), strings.ToLower(family.GetType().String()),
			strings.Join(labels, ", "), strings.TrimSuffix(family.GetHelp(), ".")))
	}
	g.Expect(rows).To(HaveLen(countMetrics(t)), "recordEverything leaves a metric out")
	table := tableHeader + strings.Join(rows, "")

	text, err := os.ReadFile(page)
	g.Expect(err).NotTo(HaveOccurred())
	before, rest, found := strings.Cut(string(text), begin)
	g.Expect(found).To(BeTrue())
	written, after, found := strings.Cut(rest, end)
	g.Expect(found).To(BeTrue())
	if *update {
		g.Expect(os.WriteFile(page, []byte(before+begin+"\n"+table+"\n"+end+after), 0o600)).To(Succeed())
		return
	}
	g.Expect(strings.TrimSpace(written)).To(Equal(strings.TrimSpace(table)),
		"write the table anew: go test ./internal/metrics -run Page -update")
	g.Expect(before + after).To(ContainSubstring("%d,000", usualBound/1000))
	g.Expect(before + after).To(ContainSubstring("%d,000", worstBound/1000))
}

// countMetrics returns how many of the operator's metrics are registered, with or without
// series.
func countMetrics(t *testing.T) int {
	t.Helper()
	described := make(chan *prometheus.Desc)
	go func() {
		registry.Registry.(prometheus.Collector).Describe(described)
		close(described)
	}()
	var names []string
	for desc := range described {
		_, name, _ := strings.Cut(desc.String(), `fqName: "`)
		if name, _, _ = strings.Cut(name, `"`); strings.HasPrefix(name, "cpnp_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return len(slices.Compact(names))
}
