// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// The alerts and the dashboard. Both are plain data, which Prometheus and Grafana read
// unchanged; the command and the chart put the data into objects of Kubernetes.
const (
	rules     = config + "/monitoring/rules.yaml"
	dashboard = config + "/monitoring/dashboard.json"
	ruleNote  = "# Written by `make chart-files` from rules.yaml. Do not edit.\n"
	ruleHead  = `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: cpnp-operator
spec:
`
)

// writeMonitoring writes the PrometheusRule of config/, and takes the alerts and the dashboard
// over into the chart.
func writeMonitoring() error {
	alerts, err := os.ReadFile(rules)
	if err != nil {
		return err
	}
	board, err := os.ReadFile(dashboard)
	if err != nil {
		return err
	}
	folder := filepath.Join(files, "monitoring")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	object := ruleNote + ruleHead + indentGroups(string(alerts))
	return errors.Join(
		os.WriteFile(filepath.Join(config, "monitoring", "prometheusrule.yaml"), []byte(object), 0o600),
		os.WriteFile(filepath.Join(folder, "rules.yaml"), append([]byte(note), withoutComments(alerts)...), 0o600),
		os.WriteFile(filepath.Join(folder, "dashboard.json"), board, 0o600),
	)
}

// indentGroups returns the groups of rules as the spec of an object.
func indentGroups(alerts string) string {
	var out strings.Builder
	for line := range strings.Lines(string(withoutComments([]byte(alerts)))) {
		if strings.TrimSpace(line) != "" {
			line = "  " + line
		}
		out.WriteString(line)
	}
	return out.String()
}

// withoutComments returns what follows the comment at the top of a file.
func withoutComments(text []byte) []byte {
	for bytes.HasPrefix(text, []byte("#")) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}
