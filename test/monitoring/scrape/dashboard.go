// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// DashboardQueries returns the queries of the dashboard as Grafana asks them, for all policies
// and components.
func DashboardQueries(t *testing.T) []string {
	t.Helper()
	g := NewWithT(t)
	var board struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
	}
	g.Expect(json.Unmarshal([]byte(ReadFile(t, "config/monitoring/dashboard.json")), &board)).To(Succeed())
	var queries []string
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, strings.NewReplacer("$__rate_interval", "1m", "$policy", ".*", "$component", ".*").Replace(target.Expr))
		}
	}
	for _, variable := range board.Templating.List {
		if variable.Type == "query" { // label_values(metric, label)
			metric, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(variable.Query.(string), "label_values("), ")"), ", ")
			queries = append(queries, metric+"{"+label+`!=""}`)
		}
	}
	for _, q := range queries {
		g.Expect(q).NotTo(ContainSubstring("$"), "a variable that Prometheus does not know")
	}
	slices.Sort(queries)
	return slices.Compact(queries)
}
