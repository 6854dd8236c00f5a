// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	findings = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_policy_findings",
		Help: "Findings about the posture that the policy declares, by severity.",
	}, []string{"policy", "severity"})

	findingInfo = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_finding_info",
		Help: "Always 1, while a check has a finding; one series for each control of a framework that asks for what the check found missing.",
	}, []string{"policy", "check", "severity", "framework", "control"})

	certificateExpiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_certificate_expiry_timestamp_seconds",
		Help: "When the certificate of a component expires that expires first of the chain, in seconds since 1970.",
	}, []string{"policy", "component", "node"})

	backupTime = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_etcd_backup_timestamp_seconds",
		Help: "When the newest known backup of etcd was made, in seconds since 1970.",
	}, []string{"policy"})

	backupMaxAge = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "cpnp_etcd_backup_max_age_seconds",
		Help: "How old the newest backup of etcd may be, as the policy declares.",
	}, []string{"policy"})
)

func init() {
	metrics.Registry.MustRegister(findings, findingInfo, certificateExpiry, backupTime, backupMaxAge)
}

// Severities of findings, the worst first.
var severities = []string{"critical", "high", "medium", "low", "info"}

// Finding is a failed check.
type Finding struct {
	// Check is the key of the check, such as tls-plaintext.
	Check    string
	Severity string
	// Controls are the controls of frameworks that require the check; empty without such
	// controls.
	Controls []Control
}

// Control is a control of a framework, such as V-242378 of DISA STIG.
type Control struct{ Framework, ID string }

// SetFindings sets the findings about a policy. Without findings, the counts are 0.
func SetFindings(policy string, found []Finding) {
	counts := map[string]int{}
	var infos []gaugeValue
	for _, f := range found {
		counts[f.Severity]++
		controls := f.Controls
		if len(controls) == 0 {
			controls = []Control{{}}
		}
		for _, c := range controls {
			infos = append(infos, gaugeValue{[]string{f.Check, f.Severity, c.Framework, c.ID}, 1})
		}
	}
	var sums []gaugeValue
	for _, severity := range severities {
		sums = append(sums, gaugeValue{[]string{severity}, float64(counts[severity])})
	}
	book.replaceGauge(policy, findings, sums)
	book.replaceGauge(policy, findingInfo, infos)
}

// Certificate is what a component of a control-plane node presents.
type Certificate struct {
	Component, Node string
	// NotAfter is the end of the certificate that expires first of the chain.
	NotAfter time.Time
}

// SetCertificates sets the certificates that the policy watches. The series of components and
// nodes without such a certificate are deleted.
func SetCertificates(policy string, certificates []Certificate) {
	values := make([]gaugeValue, 0, len(certificates))
	for _, c := range certificates {
		values = append(values, gaugeValue{[]string{c.Component, c.Node}, seconds(c.NotAfter)})
	}
	book.replaceGauge(policy, certificateExpiry, values)
}

// SetBackup sets when the newest backup was made, and how old the backup may be. With the
// zero time, no backup is known. A maximum age of 0 tells that the policy does not declare
// backups.
func SetBackup(policy string, newest time.Time, maxAge time.Duration) {
	var made, allowed []gaugeValue
	if maxAge > 0 {
		allowed = []gaugeValue{{nil, maxAge.Seconds()}}
		if !newest.IsZero() {
			made = []gaugeValue{{nil, seconds(newest)}}
		}
	}
	book.replaceGauge(policy, backupTime, made)
	book.replaceGauge(policy, backupMaxAge, allowed)
}

// seconds returns a time as the seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.Unix()) }
