// SPDX-License-Identifier: Apache-2.0

// Command dashboard writes the dashboard for Grafana. The rows and panels are in rows.go.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboard FILE")
		os.Exit(2)
	}
	text, err := renderDashboard()
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "writing the dashboard:", err)
		os.Exit(1)
	}
}

// renderDashboard returns the dashboard as JSON.
func renderDashboard() ([]byte, error) {
	board, err := newDashboard().Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(board, "", "  ")
	return append(text, '\n'), err
}

// source is the data source that the user chooses at the top of the dashboard.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// newDashboard returns the dashboard in the form that every Grafana reads. (The library
// recommends the second form, which needs Grafana 12.)
func newDashboard() *dashboard.DashboardBuilder {
	board := dashboard.NewDashboardBuilder("Control-plane network posture").
		Uid("cpnp-operator").
		Description("What cpnp-operator knows of the control plane's network, and how the operator itself does.").
		Tags([]string{"kubernetes", "network", "cpnp-operator"}).
		Timezone("browser").
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Time("now-6h", "now").
		Refresh("1m").
		Readonly().
		Link(dashboard.NewDashboardLinkBuilder("Runbooks").Type(dashboard.DashboardLinkTypeLink).
			Url("https://github.com/cpnp-dev/cpnp-operator/blob/main/docs/runbooks/README.md").TargetBlank(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(choice("policy", "Policy", "label_values(cpnp_policy_info, policy)")).
		WithVariable(choice("component", "Component", "label_values(cpnp_probe_attempts_total, component)"))
	for _, r := range rows() {
		board.WithRow(dashboard.NewRowBuilder(r.title))
		for _, panel := range r.panels {
			board.WithPanel(panel)
		}
	}
	return board
}

// choice is a variable with the values of a label; by default all values.
func choice(name, label, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).
		Query(dashboard.StringOrMap{String: &query}).Datasource(source).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{
			Selected: cog.ToPtr(true),
			Text:     dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value:    dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
}
