// SPDX-License-Identifier: Apache-2.0

package posture

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/controls"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// rules are the rules of one component beside the rules for all components. An empty
// severity stands for no rule.
type rules struct {
	// demand is the weakest allowed demand for a client certificate.
	demand v1alpha1.ClientCertificateDemand
	// name is the severity of a certificate that does not cover the address, and issuer the
	// severity of a chain that does not end in the CA published by the cluster.
	name, issuer v1alpha1.Severity
	// hint says how to demand client certificates.
	hint string
}

// rulesOf has the rules for each component. Without serverTLSBootstrap, a kubelet makes its
// own certificate. So the kubelets of most clusters have certificates that cover no address
// and come from no CA: these findings are of low severity. The CA of etcd is not published,
// and the scheduler and the controller manager make their certificates at start.
var rulesOf = map[v1alpha1.PostureComponent]rules{
	v1alpha1.PostureAPIServer: {name: v1alpha1.SeverityHigh, issuer: v1alpha1.SeverityHigh},
	v1alpha1.PostureEtcd: {
		demand: v1alpha1.ClientCertificateRequired, name: v1alpha1.SeverityHigh,
		hint: "set --client-cert-auth=true and --trusted-ca-file of etcd",
	},
	v1alpha1.PostureEtcdPeer: {
		demand: v1alpha1.ClientCertificateRequired, name: v1alpha1.SeverityHigh,
		hint: "set --peer-client-cert-auth=true and --peer-trusted-ca-file of etcd",
	},
	v1alpha1.PostureKubelet: {
		demand: v1alpha1.ClientCertificateRequested, name: v1alpha1.SeverityLow, issuer: v1alpha1.SeverityLow,
		hint: "set authentication.x509.clientCAFile in the configuration of the kubelet",
	},
}

// maxFindingMessage is the maximum length of the message of a finding.
const maxFindingMessage = 512

// collector collects the findings about one result.
type collector struct {
	port     port
	result   seen
	findings []v1alpha1.Finding
}

func (c *collector) add(check string, severity v1alpha1.Severity, what, help string) {
	c.findings = append(c.findings, v1alpha1.Finding{
		Check: check, Severity: severity, Node: c.port.node, Component: string(c.port.component),
		Controls: controls.Describe(check, string(c.port.component)),
		Message: wording.OneLine(
			fmt.Sprintf("%s on %s (%s) %s: %s", c.port.component, c.port.node, endpoint(c.result), what, help), maxFindingMessage),
	})
}

// findingsOf returns the findings about one result.
func findingsOf(declared v1alpha1.TLSPosture, p port, r seen, now time.Time) []v1alpha1.Finding {
	c := &collector{port: p, result: r}
	if r.Plaintext == v1alpha1.PlaintextAnswered {
		c.add(controls.CheckPlaintext, v1alpha1.SeverityCritical, "answers without TLS", "close the port, or have it serve TLS alone")
	}
	if r.Outcome == v1alpha1.TLSOpen {
		c.checkProtocol(declared)
		c.checkClients()
		c.checkCertificates(declared, now)
	}
	return c.findings
}

// checkProtocol checks versions and cipher suites.
func (c *collector) checkProtocol(declared v1alpha1.TLSPosture) {
	least := minVersion(declared)
	if isOlder(c.result.LowestVersion, least) {
		c.add(controls.CheckVersion, v1alpha1.SeverityHigh, "accepts "+versionName(c.result.LowestVersion),
			minimumHint(c.port.component, least))
	}
	if len(c.result.WeakCipherSuites) > 0 {
		c.add(controls.CheckCipher, v1alpha1.SeverityMedium, "accepts the weak cipher suites "+wording.ListNames(c.result.WeakCipherSuites),
			cipherHint(c.port.component))
	}
}

// minimumHint says how to set the lowest version of a component. etcd spells versions in its
// own way (etcd, Transport security, --tls-min-version).
func minimumHint(component v1alpha1.PostureComponent, least string) string {
	switch component {
	case v1alpha1.PostureEtcd, v1alpha1.PostureEtcdPeer:
		return "set --tls-min-version=" + strings.ReplaceAll(versionName(least), " ", "") + " of etcd"
	case v1alpha1.PostureKubelet:
		return "set tlsMinVersion: " + least + " in the configuration of the kubelet"
	default:
		return "set --tls-min-version=" + least
	}
}

// cipherHint says how to set the cipher suites of a component.
func cipherHint(component v1alpha1.PostureComponent) string {
	switch component {
	case v1alpha1.PostureEtcd, v1alpha1.PostureEtcdPeer:
		return "set --cipher-suites of etcd to a list without them"
	case v1alpha1.PostureKubelet:
		return "set tlsCipherSuites in the configuration of the kubelet to a list without them"
	default:
		return "set --tls-cipher-suites to a list without them"
	}
}

// checkClients checks whether client certificates are demanded.
func (c *collector) checkClients() {
	rules := rulesOf[c.port.component]
	if c.result.ClientCertificate == "" || demandRank(c.result.ClientCertificate) >= demandRank(rules.demand) {
		return
	}
	c.add(controls.CheckClientCertificate, v1alpha1.SeverityCritical, "does not demand client certificates", rules.hint)
}

// checkCertificates checks the chain of certificates.
func (c *collector) checkCertificates(declared v1alpha1.TLSPosture, now time.Time) {
	for _, certificate := range c.result.Certificates {
		if certificate.NotAfter == nil {
			continue
		}
		expires := certificate.NotAfter.UTC()
		on := expires.Format(time.DateOnly) + describeSubject(certificate)
		switch {
		case !now.Before(expires):
			c.add(controls.CheckCertificateExpired, v1alpha1.SeverityCritical, "has a certificate that expired on "+on, "renew it")
		case !now.Before(expires.Add(-warning(declared))):
			c.add(controls.CheckCertificateExpiring, v1alpha1.SeverityMedium, "has a certificate that expires on "+on, "renew it")
		case certificate.NotBefore != nil && now.Add(timing.ClockSkew).Before(certificate.NotBefore.Time):
			c.add(controls.CheckCertificateExpired, v1alpha1.SeverityCritical,
				"has a certificate that is not valid before "+certificate.NotBefore.UTC().Format(time.DateOnly)+describeSubject(certificate),
				"compare the clocks of the machines, or renew it")
		}
	}
	rules := rulesOf[c.port.component]
	if rules.name != "" && len(c.result.UncoveredNames) > 0 {
		c.add(controls.CheckCertificateName, rules.name, "has a certificate that does not cover "+wording.ListNames(c.result.UncoveredNames),
			"issue a certificate with this address")
	}
	if rules.issuer != "" && c.result.Issuer == v1alpha1.IssuerOther {
		c.add(controls.CheckCertificateIssuer, rules.issuer, "has a certificate that the CA of the cluster has not issued",
			"issue one with the CA of the cluster, whose certificate is in the ConfigMap kube-root-ca.crt")
	}
}

func describeSubject(certificate v1alpha1.Certificate) string {
	if certificate.Subject == "" {
		return ""
	}
	return " (" + wording.QuoteText(certificate.Subject, maxSubject) + ")"
}

// maxSubject is the maximum length of a subject in a message.
const maxSubject = 80

func endpoint(r seen) string { return net.JoinHostPort(r.Address, strconv.Itoa(int(r.Port))) }

// warning returns how long before its end a certificate counts as expiring.
func warning(declared v1alpha1.TLSPosture) time.Duration {
	days := int32(defaultWarningDays)
	if declared.ExpiryWarningDays != nil {
		days = *declared.ExpiryWarningDays
	}
	return time.Duration(days) * 24 * time.Hour
}

// defaultWarningDays is the default of spec.posture.tls.expiryWarningDays.
const defaultWarningDays = 30

// minVersion returns the lowest version that a component may accept.
func minVersion(declared v1alpha1.TLSPosture) string {
	return string(cmp.Or(declared.MinVersion, v1alpha1.VersionTLS12))
}

// versions are all versions, the oldest first, with the names that people use.
var versions = []struct{ version, name string }{
	{"VersionTLS10", "TLS 1.0"}, {"VersionTLS11", "TLS 1.1"}, {"VersionTLS12", "TLS 1.2"}, {"VersionTLS13", "TLS 1.3"},
}

// versionRank returns the place of a version in the order of age; an unknown version counts
// as older than all.
func versionRank(version string) int {
	return slices.IndexFunc(versions, func(v struct{ version, name string }) bool { return v.version == version })
}

func isOlder(version, than string) bool {
	return version != "" && versionRank(version) < versionRank(than)
}

func versionName(version string) string {
	if i := versionRank(version); i >= 0 {
		return versions[i].name
	}
	return wording.QuoteText(version, len("VersionTLS10"))
}

// demandRank orders the demands for a client certificate; no demand comes first.
func demandRank(demand v1alpha1.ClientCertificateDemand) int {
	return slices.Index([]v1alpha1.ClientCertificateDemand{
		v1alpha1.ClientCertificateNotRequested, v1alpha1.ClientCertificateRequested, v1alpha1.ClientCertificateRequired,
	}, demand)
}
