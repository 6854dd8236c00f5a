// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

const file = "../../config/monitoring/dashboard.json"

// The dashboard is up to date, and matches Grafana's schema: no unknown fields, no missing fields.
func TestDashboardMatchesTheSchema(t *testing.T) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := renderDashboard()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, rendered) {
		t.Error("the dashboard is stale: run make dashboard")
	}
	if err := checkSchema(text); err != nil {
		t.Error(err)
	}
}

// checkSchema returns the fields that Grafana's types do not have: such a field is lost when
// the dashboard is read and written again. (The strict decoder of the library stops early.)
func checkSchema(text []byte) error {
	board, err := decodeDashboard(text)
	if err != nil {
		return err
	}
	again, err := json.Marshal(board)
	if err != nil {
		return err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	if !bytes.Equal(again, compact.Bytes()) {
		return errors.New("the dashboard has fields that the schema does not have, or in another form")
	}
	return board.Validate()
}

func decodeDashboard(text []byte) (board dashboard.Dashboard, _ error) {
	plugins.RegisterDefaultPlugins() // registers the kinds of panels and queries
	err := json.Unmarshal(text, &board)
	return board, err
}

// The schema refuses a dashboard with a mistake.
func TestSchemaRefusesMistakes(t *testing.T) {
	rendered, err := renderDashboard()
	if err != nil {
		t.Fatal(err)
	}
	for _, mistake := range [][2]string{
		{`"schemaVersion"`, `"shemaVersion"`},
		{`"gridPos": {`, `"gridPos": {"z": 1,`},
		{`"type": "timeseries"`, `"type": 7`},
		{`"legendFormat"`, `"legendFromat"`},
	} {
		wrong := bytes.Replace(rendered, []byte(mistake[0]), []byte(mistake[1]), 1)
		if bytes.Equal(wrong, rendered) {
			t.Errorf("the dashboard has no %s", mistake[0])
		}
		if checkSchema(wrong) == nil {
			t.Errorf("the schema accepts %s", mistake[1])
		}
	}
}

// Every panel has a title and a description, queries the chosen data source,
// fits into the width and has a unique number.
func TestPanelsAreComplete(t *testing.T) {
	rendered, err := renderDashboard()
	if err != nil {
		t.Fatal(err)
	}
	board, err := decodeDashboard(rendered)
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	panels := 0
	for _, p := range board.Panels {
		if p.RowPanel != nil {
			titles = append(titles, *p.RowPanel.Title)
			continue
		}
		panels++
		panel := p.Panel
		if panel.Title == nil || panel.Description == nil || !strings.HasSuffix(*panel.Description, ".") {
			t.Errorf("panel %v has no title, or no description", panel.Title)
		}
		if *panel.Datasource.Uid != "${datasource}" || len(panel.Targets) == 0 {
			t.Errorf("panel %s does not ask the chosen data source", *panel.Title)
		}
		if panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("panel %s is beyond the border", *panel.Title)
		}
	}
	want := []string{"Posture at a glance", "Drift", "Rollout", "Latency and reachability", "Certificates and backups", "The operator"}
	if !slices.Equal(titles, want) || panels < 30 {
		t.Errorf("%d panels in the rows %q", panels, titles)
	}
}
