// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// Each bad server is found, with the controls that require the opposite, and there is no finding on a good node.
func TestBadServersAreFoundAndGoodOnesAreNot(t *testing.T) {
	s := newStage(t, "cp-1", "cp-2")
	s.startGood("cp-1")

	// An etcd that does not demand client certificates, and whose certificate is for another address.
	s.startEtcd("cp-2", false, func(r *tlsservers.Request) { r.Names = []string{"192.0.2.99"} })
	// A kubelet that speaks TLS 1.1.
	s.serve("cp-2", s.address("cp-2")+":10250", s.tlsConfig("cp-2", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS12 }))
	// An API server whose certificate expires tomorrow.
	tomorrow := s.issue("cp-2", func(r *tlsservers.Request) { r.NotAfter = time.Now().Add(24 * time.Hour) })
	s.serve("cp-2", fmt.Sprintf("%s:%d", s.address("cp-2"), apiServerPort), s.tlsConfig("cp-2", func(c *tls.Config) { c.Certificates = []tls.Certificate{tomorrow} }))
	// A controller manager without TLS, and a good scheduler.
	s.serve("cp-2", "127.0.0.1:10257", nil)
	s.serve("cp-2", "127.0.0.1:10259", s.tlsConfig("cp-2"))

	s.observe("cp-1", "cp-2")
	s.declare()
	s.Eventually(s.findings, deadline, interval).Should(ConsistOf(
		"cp-2 etcd tls-client-certificate", "cp-2 etcd-peer tls-client-certificate",
		"cp-2 etcd tls-certificate-name", "cp-2 etcd-peer tls-certificate-name",
		"cp-2 kubelet tls-version", "cp-2 kube-apiserver tls-certificate-expiring", "cp-2 kube-controller-manager tls-plaintext",
	))
	s.Eventually(s.condition("TLSCompliant"), deadline, interval).Should(Equal("False/NotCompliant"))
	s.Eventually(func() []int32 {
		posture := s.now().Status.Posture
		return []int32{*posture.Ports, *posture.ProbedPorts}
	}, deadline, interval).Should(Equal([]int32{12, 12}))
	for _, f := range s.now().Status.Posture.Findings {
		if f.Check != "tls-certificate-expiring" {
			s.Expect(f.Controls).NotTo(BeEmpty(), f.Message)
		}
	}
	s.Expect(s.condition("Ready")()).To(Equal("True/Audited"), "TLS does not affect Ready")
	for _, p := range s.postures(t.Context()) {
		s.Expect(p.Status.Observers).To(HaveLen(2))
	}
}

func TestGoodControlPlaneIsCompliant(t *testing.T) {
	s := newStage(t, "cp-1")
	s.startGood("cp-1")
	s.declare()
	s.Eventually(func() string { return s.message("TLSCompliant") }, deadline, interval).Should(ContainSubstring("Not everything could be judged"))
	s.Expect(s.condition("TLSCompliant")()).To(Equal("Unknown/NotProbed"), "no observer has results yet")

	s.observe("cp-1")
	s.Eventually(s.condition("TLSCompliant"), deadline, interval).Should(Equal("True/Compliant"))
	s.Expect(s.findings()).To(BeEmpty())
	s.Eventually(func() []string { return seriesOf(t, s.policy.Name) }, deadline, interval).Should(ContainElements(
		"cpnp_certificate_expiry_timestamp_seconds etcd cp-1", "cpnp_probe_last_handshake_seconds kube-scheduler cp-1 cp-1",
		"cpnp_policy_findings critical",
	))
	s.Expect(s.now().Status.Posture.EarliestExpiry.Time).To(BeTemporally("~", time.Now().Add(365*24*time.Hour), time.Hour))
}

// seriesOf returns the series for a policy's posture, as name and further labels.
func seriesOf(t *testing.T, policy string) []string {
	t.Helper()
	families, err := metrics.Registry.Gather()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	var found []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["policy"] != policy {
				continue
			}
			parts := []string{family.GetName()}
			for _, label := range []string{"component", "node", "observer", "severity"} {
				if value := labels[label]; value != "" {
					parts = append(parts, value)
				}
			}
			found = append(found, strings.Join(parts, " "))
		}
	}
	return found
}

// Servers that never answer, or answer without end, are reported as such. They delay the
// results of other servers by no more than their own place among the parallel probes.
func TestBadServersDelayNoOther(t *testing.T) {
	s := newStage(t, "cp-1", "cp-2")
	s.startGood("cp-1")
	for endpoint, handle := range map[string]func(net.Conn){
		s.address("cp-2") + ":2379":  tlsservers.ReadForever,
		s.address("cp-2") + ":2380":  tlsservers.SendGarbage,
		s.address("cp-2") + ":10250": func(conn net.Conn) { _ = conn.Close() },
		"127.0.0.1:10257":            tlsservers.ReadForever,
		"127.0.0.1:10259":            tlsservers.SendGarbage,
	} {
		_, err := s.network.Machine("cp-2").Serve(endpoint, handle)
		s.Expect(err).NotTo(HaveOccurred())
	}
	s.observe("cp-1", "cp-2")
	s.declare()
	s.Eventually(func() int32 {
		if posture := s.now().Status.Posture; posture != nil && posture.ProbedPorts != nil {
			return *posture.ProbedPorts
		}
		return 0
	}, deadline, interval).Should(BeEquivalentTo(6), "those of the good node")
	s.Eventually(func() []v1alpha1.TLSOutcome {
		var outcomes []v1alpha1.TLSOutcome
		for _, p := range s.postures(t.Context()) {
			for _, o := range p.Status.Observers {
				for _, r := range o.Results {
					if p.Spec.Node == "cp-2" && o.Name == "cp-2" {
						outcomes = append(outcomes, r.Outcome)
					}
				}
			}
		}
		return outcomes
	}, deadline, interval).Should(ConsistOf(v1alpha1.TLSSilent, v1alpha1.TLSNotTLS, v1alpha1.TLSSilent, v1alpha1.TLSSilent, v1alpha1.TLSNotTLS, v1alpha1.TLSRefused))
	s.Expect(s.condition("TLSCompliant")()).To(Equal("Unknown/NotProbed"))
	s.Expect(s.findings()).To(BeEmpty(), "a server that could not be probed is no finding")
}

// A port that becomes unreachable is reported by an event, and so is its return.
func TestChangesOfReachabilityAreEvents(t *testing.T) {
	s := newStage(t, "cp-1")
	stop := s.serve("cp-1", s.address("cp-1")+":10250", s.tlsConfig("cp-1"))
	only := func(seconds int32) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
		return func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
			spec.Posture.TLS = &v1alpha1.TLSPosture{IntervalSeconds: seconds, Components: []v1alpha1.PostureComponent{v1alpha1.PostureKubelet}}
		}
	}
	// Another interval is another generation of the targets, which are probed at once.
	probeAgain := func(seconds int32) {
		policy := s.now()
		only(seconds)(&policy.Spec)
		s.Expect(admin.Update(t.Context(), policy)).To(Succeed())
	}
	events := func() []string {
		var list eventsv1.EventList
		s.Expect(admin.List(t.Context(), &list, client.InNamespace("default"))).To(Succeed())
		var notes []string
		for _, e := range list.Items {
			if e.Regarding.UID == s.policy.UID && (e.Reason == "Unreachable" || e.Reason == "Reachable") {
				notes = append(notes, e.Type+" "+e.Reason+" "+e.Note)
			}
		}
		return notes
	}
	s.observe("cp-1")
	s.declare(only(600))
	s.Eventually(s.condition("TLSCompliant"), deadline, interval).Should(Equal("True/Compliant"))
	s.Expect(events()).To(BeEmpty())
	stop()
	probeAgain(601)
	endpoint := fmt.Sprintf("kubelet on cp-1 (%s:10250) from cp-1", s.address("cp-1"))
	s.Eventually(events, deadline, interval).Should(ConsistOf("Warning Unreachable Not reached any more: " + endpoint + ": Refused"))
	s.Eventually(s.condition("TLSCompliant"), deadline, interval).Should(Equal("Unknown/NotProbed"))
	s.Expect(s.message("TLSCompliant")).To(ContainSubstring("was not reached: Refused"))
	s.serve("cp-1", s.address("cp-1")+":10250", s.tlsConfig("cp-1"))
	probeAgain(602)
	s.Eventually(events, deadline, interval).Should(ContainElement("Normal Reachable Reached again: " + endpoint + ": Open"))
	s.Eventually(s.condition("TLSCompliant"), deadline, interval).Should(Equal("True/Compliant"))
}
