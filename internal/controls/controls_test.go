// SPDX-License-Identifier: Apache-2.0

package controls

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
)

var components = []string{apiServer, etcd, etcdPeer, kubelet, scheduler, controllerManager}

// Every check has controls, or is listed as a check without controls, with the reason.
func TestEveryCheckHasControlsOrAReason(t *testing.T) {
	g := NewWithT(t)
	for _, check := range Checks() {
		if why, without := WithoutControls[check]; without {
			g.Expect(why).NotTo(BeEmpty())
			g.Expect(ForCheck(check, "")).To(BeEmpty(), check)
			continue
		}
		g.Expect(ForCheck(check, "")).NotTo(BeEmpty(), check)
	}
	for check := range maps.Keys(WithoutControls) {
		g.Expect(Checks()).To(ContainElement(check))
	}
}

// An id has the form of its framework, and occurs once.
func TestIDsHaveTheFormOfTheirFramework(t *testing.T) {
	g := NewWithT(t)
	forms := map[string]*regexp.Regexp{
		CIS:  regexp.MustCompile(`^[1-5](\.\d{1,2}){1,2}$`),
		STIG: regexp.MustCompile(`^V-2[0-9]{5}$`),
		NSA:  regexp.MustCompile(`^Network separation: [A-Za-z]+$`),
	}
	versions := map[string]string{CIS: "1.12, 2.0.1", STIG: "V2R6", NSA: "1.2"}
	seen := map[string]bool{}
	for _, r := range table {
		g.Expect(r.ID).To(MatchRegexp(forms[r.Framework].String()))
		g.Expect(r.Version).To(Equal(versions[r.Framework]))
		g.Expect(seen).NotTo(HaveKey(r.String()))
		seen[r.String()] = true
		g.Expect(r.Title).NotTo(BeEmpty())
		g.Expect(r.source).NotTo(BeEmpty(), r.ID)
		g.Expect(len(r.String())).To(BeNumerically("<=", 63), "the limit of the API: %s", r)
		g.Expect(r.checks).NotTo(BeEmpty())
		for _, check := range r.checks {
			g.Expect(Checks()).To(ContainElement(check))
		}
		for _, component := range r.components {
			g.Expect(components).To(ContainElement(component))
		}
	}
}

func TestControlsAreBoundedAndOfTheComponent(t *testing.T) {
	g := NewWithT(t)
	for _, check := range append(Checks(), "unknown") {
		for _, component := range append(components, "", "unknown") {
			found := ForCheck(check, component)
			g.Expect(len(found)).To(BeNumerically("<=", Max))
			g.Expect(ForCheck(check, component)).To(Equal(found), "same input, same output")
			for _, c := range found {
				at := slices.IndexFunc(table, func(r row) bool { return r.Control == c })
				g.Expect(table[at].checks).To(ContainElement(check))
				if component != "" && len(table[at].components) > 0 {
					g.Expect(table[at].components).To(ContainElement(component))
				}
			}
		}
	}
	g.Expect(ForCheck("unknown", apiServer)).To(BeEmpty())
}

// The controls of the most important findings.
func TestControlsOfFindings(t *testing.T) {
	g := NewWithT(t)
	for _, c := range []struct {
		check, component string
		want             []string
	}{
		{CheckPlaintext, kubelet, []string{
			"CIS Kubernetes 4.2.4", "CIS Kubernetes 4.2.9", "DISA STIG Kubernetes V-242387", "DISA STIG Kubernetes V-242425",
			"NSA/CISA Hardening Guide Network separation: TLS",
		}},
		{CheckVersion, apiServer, []string{"DISA STIG Kubernetes V-242378", "NSA/CISA Hardening Guide Network separation: TLS"}},
		{CheckVersion, kubelet, []string{"NSA/CISA Hardening Guide Network separation: TLS"}},
		{CheckClientCertificate, etcd, []string{
			"CIS Kubernetes 2.2", "DISA STIG Kubernetes V-242423", "NSA/CISA Hardening Guide Network separation: etcd",
			"NSA/CISA Hardening Guide Network separation: TLS",
		}},
		{CheckCertificateExpiring, etcd, nil},
		{CheckCertificateExpiring, kubelet, []string{"CIS Kubernetes 4.2.11"}},
		{CheckHostsRestricted, "", []string{
			"DISA STIG Kubernetes V-242410", "DISA STIG Kubernetes V-242411", "DISA STIG Kubernetes V-242412", "DISA STIG Kubernetes V-242413",
			"NSA/CISA Hardening Guide Network separation: firewall", "NSA/CISA Hardening Guide Network separation: etcd",
		}},
		{CheckHostsRestricted, etcdPeer, []string{
			"DISA STIG Kubernetes V-242413", "NSA/CISA Hardening Guide Network separation: firewall", "NSA/CISA Hardening Guide Network separation: etcd",
		}},
		{CheckBackupAge, etcd, nil},
		{CheckDrift, "", nil},
	} {
		g.Expect(Describe(c.check, c.component)).To(Equal(c.want), "%s %s", c.check, c.component)
	}
}
