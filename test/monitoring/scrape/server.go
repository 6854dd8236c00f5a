// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// Server is a running Prometheus.
type Server struct{ url string }

// StartPrometheus starts a Prometheus with a configuration, and ends it with the test.
func StartPrometheus(t *testing.T, config string) Server {
	t.Helper()
	g, dir := NewWithT(t), t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	g.Expect(os.WriteFile(file, []byte(config), 0o600)).To(Succeed())
	out, err := exec.Command(Promtool(t), "check", "config", file).CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), "%s\n%s", out, config)
	address := FreeAddress(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	g.Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(t.Context(), buildTool(t, "prometheus"), "--config.file="+file,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	g.Expect(cmd.Start()).To(Succeed())
	t.Cleanup(func() {
		_ = cmd.Wait() // interrupted
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the log of Prometheus:\n%s", text)
		}
	})
	s := Server{"http://" + address}
	g.Eventually(func() error {
		answer, err := http.Get(s.url + "/-/ready")
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s", answer.Status)
		}
		return nil
	}).WithTimeout(30 * time.Second).WithPolling(100 * time.Millisecond).Should(Succeed())
	return s
}

// FreeAddress returns an address with a free port.
func FreeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// get reads from the API of Prometheus.
func (s Server) get(path string, into any) error {
	answer, err := http.Get(s.url + path)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	var body struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return err
	}
	if body.Status != "success" {
		return fmt.Errorf("%s", body.Error)
	}
	return json.Unmarshal(body.Data, into)
}

// Sample is a series with its value now.
type Sample struct {
	Metric    map[string]string
	Value     []any
	Histogram []any
}

// Query returns the series of an expression.
func (s Server) Query(expression string) ([]Sample, error) {
	var data struct{ Result []Sample }
	err := s.get("/api/v1/query?query="+url.QueryEscape(expression), &data)
	return data.Result, err
}

// Target is what Prometheus scrapes.
type Target struct {
	Labels                        map[string]string
	ScrapePool, Health, LastError string
}

// Targets returns what Prometheus scrapes.
func (s Server) Targets() ([]Target, error) {
	var data struct{ ActiveTargets []Target }
	err := s.get("/api/v1/targets?state=active", &data)
	return data.ActiveTargets, err
}

// Rule is an alert, with the series for which the expression holds.
type Rule struct {
	Name, Health, LastError, Query string
	Alerts                         []struct {
		Labels, Annotations map[string]string
		State               string
	}
}

// Rules returns the alerts.
func (s Server) Rules() ([]Rule, error) {
	var data struct{ Groups []struct{ Rules []Rule } }
	err := s.get("/api/v1/rules?type=alert", &data)
	var rules []Rule
	for _, group := range data.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, err
}

// CheckQueries returns the queries refused by Prometheus or without data.
func (s Server) CheckQueries(queries []string) []string {
	var problems []string
	for _, q := range queries {
		switch found, err := s.Query(q); {
		case err != nil:
			problems = append(problems, q+": "+err.Error())
		case len(found) == 0:
			problems = append(problems, q+": no data")
		}
	}
	return problems
}

// Endpoint is where metrics are served: over TLS, to who has the token.
type Endpoint struct {
	Address, ServerName string
	// CAFile is the authority of the certificate; if empty, the certificate is not
	// verified, as for an operator with a self-signed certificate.
	CAFile, TokenFile string
}

// Config returns a configuration that scrapes the endpoint every second, classic and
// native histograms, and evaluates the alerts.
func (e Endpoint) Config(t *testing.T) string {
	t.Helper()
	rules, err := filepath.Abs(File("config/monitoring/rules.yaml"))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	trust := "insecure_skip_verify: true"
	if e.CAFile != "" {
		trust = fmt.Sprintf("ca_file: %s\n      server_name: %s", e.CAFile, e.ServerName)
	}
	return strings.NewReplacer("RULES", rules, "TOKEN", e.TokenFile, "TRUST", trust, "ADDRESS", e.Address).Replace(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [RULES]
scrape_configs:
  - job_name: cpnp-operator
    scheme: https
    scrape_native_histograms: true
    always_scrape_classic_histograms: true
    authorization: {credentials_file: TOKEN}
    tls_config:
      TRUST
    static_configs: [{targets: [ADDRESS]}]
`)
}
