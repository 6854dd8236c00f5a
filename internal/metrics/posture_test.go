// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

func TestFindingsAreCountedAndNamedByControl(t *testing.T) {
	g := NewWithT(t)
	metrics.SetPolicies([]string{"p"})
	t.Cleanup(func() { metrics.SetPolicies(nil) })
	metrics.SetFindings("p", []metrics.Finding{
		{Check: "tls-version", Severity: "high", Controls: []metrics.Control{{Framework: "stig", ID: "V-242378"}, {Framework: "cis", ID: "1.2.30"}}},
		{Check: "tls-version", Severity: "high", Controls: []metrics.Control{{Framework: "stig", ID: "V-242378"}}},
		{Check: "drift", Severity: "low"},
	})
	g.Expect(series(t)).To(HaveExactElements(
		"cpnp_finding_info{check=drift,control=,framework=,policy=p,severity=low} 1",
		"cpnp_finding_info{check=tls-version,control=1.2.30,framework=cis,policy=p,severity=high} 1",
		"cpnp_finding_info{check=tls-version,control=V-242378,framework=stig,policy=p,severity=high} 1",
		"cpnp_policy_findings{policy=p,severity=critical} 0",
		"cpnp_policy_findings{policy=p,severity=high} 2",
		"cpnp_policy_findings{policy=p,severity=info} 0",
		"cpnp_policy_findings{policy=p,severity=low} 1",
		"cpnp_policy_findings{policy=p,severity=medium} 0",
	))
	metrics.SetFindings("p", nil)
	g.Expect(series(t)).To(HaveLen(5))
	g.Expect(series(t)).To(HaveEach(And(HavePrefix("cpnp_policy_findings"), HaveSuffix(" 0"))))
}

func TestNodesAndObserversThatLeaveLoseTheirSeries(t *testing.T) {
	g := NewWithT(t)
	metrics.SetPolicies([]string{"p"})
	metrics.SetProbes([]string{"etcd"}, []string{"operator", "cp-2"})
	t.Cleanup(func() { metrics.SetPolicies(nil); metrics.SetProbes(nil, nil) })
	when := time.Unix(2_000_000_000, 0)
	metrics.SetCertificates("p", []metrics.Certificate{{"etcd", "cp-1", when}, {"etcd", "cp-2", when}})
	metrics.SetHandshakes("p", []metrics.Handshake{{"etcd", "cp-1", "operator", time.Second}, {"etcd", "cp-1", "cp-2", 2 * time.Second}})
	for _, observer := range []string{"operator", "cp-2", "stranger"} {
		metrics.RecordAttempt(metrics.Attempt{
			Component: "etcd", Observer: observer, Result: metrics.ProbeHandshake, Connect: time.Millisecond, Handshake: time.Millisecond,
		})
	}
	metrics.RecordAttempt(metrics.Attempt{Component: "etcd", Observer: "operator", Result: "what a probe invents"})
	g.Expect(series(t)).To(HaveExactElements(
		"cpnp_certificate_expiry_timestamp_seconds{component=etcd,node=cp-1,policy=p} 2e+09",
		"cpnp_certificate_expiry_timestamp_seconds{component=etcd,node=cp-2,policy=p} 2e+09",
		"cpnp_probe_attempts_total{component=etcd,observer=cp-2,result=Handshake} 1",
		"cpnp_probe_attempts_total{component=etcd,observer=operator,result=Handshake} 1",
		"cpnp_probe_attempts_total{component=etcd,observer=operator,result=Other} 1",
		"cpnp_probe_connect_duration_seconds{component=etcd,observer=cp-2} 0",
		"cpnp_probe_connect_duration_seconds{component=etcd,observer=operator} 0",
		"cpnp_probe_handshake_duration_seconds{component=etcd,observer=cp-2} 0",
		"cpnp_probe_handshake_duration_seconds{component=etcd,observer=operator} 0",
		"cpnp_probe_last_handshake_seconds{component=etcd,node=cp-1,observer=cp-2,policy=p} 2",
		"cpnp_probe_last_handshake_seconds{component=etcd,node=cp-1,observer=operator,policy=p} 1",
	))
	metrics.SetCertificates("p", []metrics.Certificate{{"etcd", "cp-1", when}})
	metrics.SetHandshakes("p", []metrics.Handshake{{"etcd", "cp-1", "operator", time.Second}})
	metrics.SetProbes([]string{"etcd"}, []string{"operator"})
	g.Expect(series(t)).To(HaveLen(6))
	g.Expect(series(t)).NotTo(ContainElement(ContainSubstring("cp-2")))
	metrics.SetProbes(nil, []string{"operator"})
	g.Expect(series(t)).To(HaveLen(2), "the component is no longer probed")
	metrics.SetPolicies(nil)
	g.Expect(series(t)).To(BeEmpty())
}

func TestAnUndeclaredBackupHasNoSeries(t *testing.T) {
	g := NewWithT(t)
	metrics.SetPolicies([]string{"p"})
	t.Cleanup(func() { metrics.SetPolicies(nil) })
	metrics.SetBackup("p", time.Unix(1000, 0), time.Hour)
	g.Expect(series(t)).To(HaveExactElements(
		"cpnp_etcd_backup_max_age_seconds{policy=p} 3600", "cpnp_etcd_backup_timestamp_seconds{policy=p} 1000"))
	metrics.SetBackup("p", time.Time{}, time.Hour)
	g.Expect(series(t)).To(HaveExactElements("cpnp_etcd_backup_max_age_seconds{policy=p} 3600"), "a missing time is not 1970")
	metrics.SetBackup("p", time.Unix(1000, 0), 0)
	g.Expect(series(t)).To(BeEmpty())
	metrics.SetBackup("p", time.Unix(1000, 0), time.Hour)
	metrics.SetPolicies(nil)
	g.Expect(series(t)).To(BeEmpty())
}
