// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// text is the title and description of a panel.
type text struct{ title, description string }

// query is an expression, and the name of its series.
type query struct{ expression, legend string }

// Widths of panels; the dashboard is 24 wide.
const (
	quarter = 6
	third   = 8
	half    = 12
)

func newTarget(q query, instant bool) *prometheus.DataqueryBuilder {
	target := prometheus.NewDataqueryBuilder().Datasource(source).Expr(q.expression).LegendFormat(q.legend)
	if instant {
		return target.Instant()
	}
	return target.Range()
}

// newGraph is a panel over time.
func newGraph(t text, width uint32, unit string, queries ...query) *timeseries.PanelBuilder {
	panel := timeseries.NewPanelBuilder().Title(t.title).Description(t.description).Datasource(source).
		Span(width).Height(8).Unit(unit).Min(0).FillOpacity(8).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for _, q := range queries {
		panel.WithTarget(newTarget(q, false))
	}
	return panel
}

// newNumber is a panel with the value of now, in the color of the first step that is reached.
func newNumber(t text, width uint32, steps []dashboard.Threshold, q query) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(t.title).Description(t.description).Datasource(source).
		Span(width).Height(4).Unit("none").Thresholds(newThresholds(steps)).
		ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).ReduceOptions(lastValue()).
		WithTarget(newTarget(q, true))
}

// newState is a number of which 0 and 1 are shown as words.
func newState(t text, zero, one string, steps []dashboard.Threshold, q query) *stat.PanelBuilder {
	return newNumber(t, quarter, steps, q).TextMode(common.BigValueTextModeValueAndName).Mappings([]dashboard.ValueMapping{{
		ValueMap: &dashboard.ValueMap{Type: "value", Options: map[string]dashboard.ValueMappingResult{
			"0": {Text: &zero}, "1": {Text: &one},
		}},
	}}).Height(6)
}

// newBars is a panel with one bar for each series of now.
func newBars(t text, width uint32, unit string, steps []dashboard.Threshold, q query) *bargauge.PanelBuilder {
	return bargauge.NewPanelBuilder().Title(t.title).Description(t.description).Datasource(source).
		Span(width).Height(8).Unit(unit).Min(0).Thresholds(newThresholds(steps)).
		Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).ReduceOptions(lastValue()).
		WithTarget(newTarget(q, true))
}

func lastValue() *common.ReduceDataOptionsBuilder {
	return common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}).Values(false)
}

func newThresholds(steps []dashboard.Threshold) *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

// from is a step of colors: from a value on. The first step of a list begins at no value.
func from(value float64, color string) dashboard.Threshold {
	return dashboard.Threshold{Value: cog.ToPtr(value), Color: color}
}

func begin(color string) dashboard.Threshold { return dashboard.Threshold{Color: color} }

// stacked shows the series of a graph on top of each other.
func stacked() *common.StackingConfigBuilder {
	return common.NewStackingConfigBuilder().Mode(common.StackingModeNormal)
}
