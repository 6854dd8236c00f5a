// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"
)

// report is the result of all measurements.
type report struct {
	settings
	repairs     []measured // by kind
	convergence [rounds]convergence
	memory      struct{ steady, anonymous, peak, heap, nextGC, null float64 }
	rest        struct {
		calls, reconciles, heartbeats int
		cpu, heartbeatCPU             time.Duration
	}
	restart struct {
		writes, gets int
		rss, peak    float64
	}
	burst    burst
	failover struct{ graceful, crash []time.Duration }
}

func newReport(s settings) *report {
	return &report{settings: s, repairs: make([]measured, len(kinds))}
}

// writeTo prints the report as Markdown.
func (r *report) writeTo(out io.Writer) error {
	const format = "\n%d nodes, %d Services, %d NetworkPolicies; %d drifts of each kind, one after the other; " +
		"limit of %d MiB; %s, %d CPUs\n\n%s\n%s\n%s"
	_, err := fmt.Fprintf(out, format,
		r.nodes, r.services, targets, r.drifts, r.memoryLimit, runtime.Version(), runtime.NumCPU(),
		r.latencyTable(), r.costTable(), r.wholeTable())
	return err
}

func (r *report) latencyTable() string {
	rows := [][]string{{
		"Foreign write → repaired", "null p50", "operator p50", "ratio", "null p99", "operator p99", "ratio", "ratio p50 while wrong",
		"API server's part, null p50", "operator p50",
	}}
	for i, k := range kinds {
		m := r.repairs[i]
		row := []string{k.name}
		for _, share := range []float64{0.5, 0.99} {
			null, operator := quantileOf(m.null.repaired, share), quantileOf(m.operator.repaired, share)
			row = append(row, inMillis(null), inMillis(operator), ratioOf(operator, null))
		}
		rows = append(rows, append(row, ratioOf(quantileOf(m.operator.wrong, 0.5), quantileOf(m.null.wrong, 0.5)),
			inMillis(quantileOf(m.null.answered, 0.5)), inMillis(quantileOf(m.operator.answered, 0.5))))
	}
	return asTable(rows) + "\nWhile wrong: without the foreign write itself, from when a watch shows the drift until it shows the repair.\n" +
		"The API server's part: from the arrival of the repairer's write until its answer, by the audit log.\n"
}

func (r *report) costTable() string {
	rows := [][]string{{"Cost of a repair", "null CPU", "operator CPU", "ratio", "writes", "reads", "status writes a second"}}
	for i, k := range kinds {
		m, drifts := r.repairs[i], time.Duration(r.drifts)
		rows = append(rows, []string{
			k.name, inMillis(m.null.cpu / drifts), inMillis(m.operator.cpu / drifts), ratioOf(m.operator.cpu, m.null.cpu),
			fmt.Sprintf("%.3f", float64(m.writes)/float64(r.drifts)), fmt.Sprint(m.reads), fmt.Sprintf("%.2f", float64(m.status)/m.took.Seconds()),
		})
	}
	return asTable(rows)
}

func (r *report) wholeTable() string {
	objects := float64(r.nodes + r.services)
	rate := func(d time.Duration) string { return fmt.Sprintf("%.0f objects/s", objects/d.Seconds()) }
	m := r.memory
	rows := [][]string{{"The whole", "null or bare client", "operator", "ratio"}}
	for i, c := range r.convergence {
		what := fmt.Sprintf("First convergence, round %d", i+1)
		rows = append(rows, []string{what, rate(c.raw), rate(c.operator), ratioOf(c.raw, c.operator)})
	}
	last, many := r.convergence[rounds-1], r.burst
	return asTable(append(rows, [][]string{
		{"… of the last: time; until the status says so", inMillis(last.raw), inMillis(last.operator) + "; " + inMillis(last.reported), ""},
		{"Deletion until everything is restored", "", inMillis(r.convergence[0].reverted), ""},
		{
			fmt.Sprintf("%d objects drift at once → all repaired", many.objects), inMillis(many.raw), inMillis(many.operator),
			ratioOf(many.operator, many.raw),
		},
		{
			"… repairs, status writes a second, events", "",
			fmt.Sprintf("%d, %.2f, %d", many.repairs, float64(many.status)/many.took.Seconds(), many.events), "",
		},
		{"Memory after convergence (RSS)", inMiB(m.null), inMiB(m.steady), fmt.Sprintf("%.2f", m.steady/m.null)},
		{
			"… of it anonymous; Go heap in use; heap at which Go collects", "",
			inMiB(m.anonymous) + "; " + inMiB(m.heap) + "; " + inMiB(m.nextGC), "",
		},
		{"Memory at its peak (RSS), to after convergence", "", inMiB(m.peak), fmt.Sprintf("%.2f", m.peak/m.steady)},
		{"Memory after a restart (RSS), at its peak", "", inMiB(r.restart.rss) + ", " + inMiB(r.restart.peak), ""},
		{"API calls in 20 s at rest, half of it with heartbeats; CPU without", "", fmt.Sprintf("%d, %s", r.rest.calls, inMillis(r.rest.cpu)), ""},
		{"Reconciles for node heartbeats, CPU of each", fmt.Sprintf("%d heartbeats", r.rest.heartbeats),
			fmt.Sprintf("%d, %s", r.rest.reconciles, inMillis(r.rest.heartbeatCPU/time.Duration(max(1, r.rest.heartbeats)))), ""},
		{"Writes and GETs at a restart", "", fmt.Sprintf("%d, %d", r.restart.writes, r.restart.gets), ""},
		failoverRow("The leader is told to end → the other replica has repaired a drift", r.failover.graceful),
		failoverRow("The leader crashes → the other replica has repaired a drift", r.failover.crash),
	}...))
}

func inMillis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

func inMiB(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }

func ratioOf(a, b time.Duration) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// asTable formats rows as Markdown; the first row is the header.
func asTable(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for line, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&out, "| %s%s ", cell, strings.Repeat(" ", width[i]-len([]rune(cell))))
		}
		out.WriteString("|\n")
		if line == 0 {
			for i := range row {
				out.WriteString("|" + strings.Repeat("-", width[i]+2))
			}
			out.WriteString("|\n")
		}
	}
	return out.String()
}
