// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"flag"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/cpnp-dev/cpnp-operator/internal/etcdsnapshot"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

// shipped are the folders in which the names of the documentation must occur.
var shipped = []string{"api", "internal", "controllers", "config", "charts"}

// constants returns the values of the string constants of a file whose names begin with a
// prefix.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	var values []string
	pattern := regexp.MustCompile(`(?m)^\s+` + prefix + `\w+ += "([^"]+)"`)
	for _, match := range pattern.FindAllStringSubmatch(readSource(t, []string{file}, "api/v1alpha1"), -1) {
		values = append(values, match[1])
	}
	NewWithT(t).Expect(values).NotTo(BeEmpty())
	return values
}

// Every reason, condition and phase of the API is explained, and can be found by symptom.
func TestReasonsAreExplained(t *testing.T) {
	g := NewWithT(t)
	pages := readPages(t)
	reasons := constants(t, "conditions.go", "Reason")
	g.Expect(len(reasons)).To(BeNumerically(">", 50))
	for _, file := range []string{"docs/status.md", "docs/troubleshooting.md"} {
		named := page.FindCode(pages[file])
		missing := slices.DeleteFunc(slices.Clone(reasons), func(reason string) bool { return slices.Contains(named, reason) })
		g.Expect(missing).To(BeEmpty(), "reasons that %s does not have", file)
	}
	named := page.FindCode(pages["docs/status.md"])
	for _, name := range slices.Concat(constants(t, "conditions.go", "Condition"), constants(t, "conditions.go", "Phase")) {
		g.Expect(named).To(ContainElement(name), "docs/status.md does not have %s", name)
	}
}

// foreignWords are words in the form of a reason that are not in this repository's code.
var foreignWords = strings.Fields(`APIServer CiliumClusterwideNetworkPolicies DenyServiceExternalIPs IngressNodeFirewall
	NetworkDefaultActionConfig NetworkRuleConfig NotReady`)

// pagesForUsers list reasons, states, events and values. Pages for contributors also name functions of Go.
var pagesForUsers = []string{
	"README.md", "docs/getting-started.md", "docs/concepts.md", "docs/safety.md", "docs/break-glass.md", "docs/day-2.md",
	"docs/where-it-runs.md", "docs/troubleshooting.md", "docs/comparison.md", "docs/status.md", "docs/rollout.md", "docs/hosts.md",
	"docs/gitops.md", "docs/probes.md", "docs/ports.md", "docs/metrics.md",
}

// Every word in the form of a reason is in the code: as a reason, a condition,
// a phase, an event, a kind, or a value of a field.
func TestWordsOfThePagesAreInTheCode(t *testing.T) {
	pages := readPages(t)
	source := readSource(t, []string{".go", ".yaml"}, shipped...)
	form := regexp.MustCompile(`^[A-Z][a-z]+([A-Z][A-Za-z]*)+$`)
	found := 0
	for _, name := range pagesForUsers {
		for _, word := range page.FindCode(pages[name]) {
			if !form.MatchString(word) || slices.Contains(foreignWords, word) {
				continue
			}
			found++
			if !isInSource(source, word) {
				t.Errorf("%s: `%s` is nowhere in the code", name, word)
			}
		}
	}
	NewWithT(t).Expect(found).To(BeNumerically(">", 200))
}

// isInSource tells whether a word is a text or a name in the source. The event of a phase is composed from the phase.
func isInSource(source, word string) bool {
	if phase, of := strings.CutPrefix(word, "Node"); of && strings.Contains(source, "Phase"+phase+" ") {
		return true
	}
	singular := strings.TrimSuffix(word, "s")
	return regexp.MustCompile(`\b(` + word + `|` + singular + `)\b`).MatchString(source)
}

// foreignLabels are labels of earlier versions, which the pages tell users to replace.
var foreignLabels = []string{"cpnp.dev/probe"}

// Every label and annotation, every metric and every environment variable is in the code.
func TestNamesOfThePagesAreInTheCode(t *testing.T) {
	source := readSource(t, []string{".go", ".yaml", ".tpl", ".sh", ".json"}, append(shipped, "hack", "main.go", "test/testbed", "test/monitoring/scrape")...) +
		readSource(t, []string{"Makefile", "run"}, ".")
	for kind, pattern := range map[string]*regexp.Regexp{
		"label or annotation":  regexp.MustCompile(`[^.\w](cpnp\.dev/[a-z][a-z0-9-]*[a-z0-9])`),
		"metric":               regexp.MustCompile(`\b(cpnp_[a-z_]+)\b`),
		"environment variable": regexp.MustCompile(`\b((?:POD|HOST|NODE|MEMORY|CPNP|KUBEBUILDER)_[A-Z_]+)\b`),
	} {
		t.Run(kind, func(t *testing.T) {
			found := 0
			for name, text := range readWrittenPages(t) {
				for _, match := range pattern.FindAllStringSubmatch(text, -1) {
					found++
					if word := match[1]; !strings.Contains(source, word) && !slices.Contains(foreignLabels, word) {
						t.Errorf("%s: %s is nowhere in the code", name, word)
					}
				}
			}
			NewWithT(t).Expect(found).To(BeNumerically(">", 10))
		})
	}
}

// Every metric in the code is explained.
func TestMetricsAreExplained(t *testing.T) {
	g := NewWithT(t)
	explained := readPages(t)["docs/metrics.md"]
	names := regexp.MustCompile(`Name: +"(cpnp_\w+)"`).FindAllStringSubmatch(readSource(t, []string{".go"}, "internal/metrics"), -1)
	g.Expect(names).NotTo(BeEmpty())
	for _, name := range names {
		g.Expect(explained).To(ContainSubstring("`" + name[1] + "`"))
	}
}

// foreignFlags are flags of other programs in the pages: of kubectl, helm, kind, kubeadm, k3s,
// kubelets, API servers and etcd, OpenShift, Cilium, cosign, GitHub, and of this repository's tools.
var foreignFlags = strings.Fields(`
	--all --all-namespaces --certificate-identity-regexp --certificate-oidc-issuer --cluster --cluster-cidr --cluster-init --clusterrole
	--atomic --bump-revision --cipher-suites --client-ca-file --client-cert-auth --config --control-plane-endpoint --create-namespace --data-dir
	--datastore-endpoint --disable-network-policy --enable-validating-admission-policy --field-manager --field-selector
	--flannel-backend --for --from --host-open-ports --image --initial-advertise-peer-urls --initial-cluster --insecure-port
	--kubeconfig --kubernetes-service-node-port --listen-client-urls --listen-metrics-urls --listen-peer-urls --mark-compacted --name
	--namespace --no-hooks --node-ip --now --output --overwrite --owner --patch --peer-client-cert-auth --pod-network-cidr --raw
	--remove --replicas --reset-then-reuse-values --rollback-on-failure --run-firewall --selector --server --service-node-port-range
	--tls-cipher-suites --tls-min-version --trusted-ca-file
	--serviceaccount --set --set-string --tail --take-ownership --tcp --timeout --type --upload-certs --user --wait`)

// Every flag belongs to the operator, the probe or etcd-snapshot, or is a known flag of another program.
func TestFlagsOfThePagesExist(t *testing.T) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	new(options.Options).BindFlags(flags)
	new(zap.Options).BindFlags(flags)
	probe := flag.NewFlagSet("", flag.ContinueOnError)
	new(options.Probe).BindFlags(probe)
	snapshot := flag.NewFlagSet("", flag.ContinueOnError)
	new(etcdsnapshot.Options).BindFlags(snapshot)
	pattern := regexp.MustCompile("(?:^|[\\s`(\\[\"',{])(--[a-z][a-z-]+)")
	for name, text := range readWrittenPages(t) {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			word := strings.TrimPrefix(match[1], "--")
			if flags.Lookup(word) == nil && probe.Lookup(word) == nil && snapshot.Lookup(word) == nil && !slices.Contains(foreignFlags, match[1]) {
				t.Errorf("%s: --%s is no flag of the operator; if another program has it, add it to foreignFlags", name, word)
			}
		}
	}
	flags.VisitAll(func(f *flag.Flag) {
		if slices.Contains(foreignFlags, "--"+f.Name) {
			t.Errorf("--%s is in foreignFlags, and is the operator's", f.Name)
		}
	})
}
