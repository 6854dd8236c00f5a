// SPDX-License-Identifier: Apache-2.0

package controls

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

var update = flag.Bool("update", false, "write the page anew")

const page = "../../docs/controls.md"

const head = `# Controls of public benchmarks

Findings of ` + "`status.posture.findings`" + `, of metrics and of reports name the controls that ask for the opposite, from [table.go](../internal/controls/table.go): CIS Kubernetes Benchmark, DISA STIG for Kubernetes, and the Kubernetes Hardening Guide of NSA and CISA. The operator checks what can be seen from the network. A control may ask for more, such as a flag or a document: a cluster without findings is therefore not yet proven compliant, and a finding is always a reason to look. Not every check is made for every component: see [the checks](posture.md#checks).

Every id was checked by the source beside it; an id that could not be checked is left out. The ids of CIS are the same in the versions 1.12 and 2.0.1. The guide of NSA and CISA has no ids: the name of the chapter stands for one. The titles are words of this project.
`

// write returns the page of the data.
func write() string {
	var out strings.Builder
	out.WriteString(head)
	out.WriteString("\n## Controls by check\n\n| Check | Component | Controls |\n|---|---|---|\n")
	for _, check := range Checks() {
		if why, without := WithoutControls[check]; without {
			fmt.Fprintf(&out, "| `%s` | every | none: %s |\n", check, why)
			continue
		}
		for _, component := range components {
			names := strings.Join(Describe(check, component), ", ")
			if names == "" {
				names = "none"
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", check, component, names)
		}
	}
	out.WriteString("\n## Sources\n\n| Framework | Version | Control | Asks that | Checked by |\n|---|---|---|---|---|\n")
	for _, r := range table {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", r.Framework, r.Version, r.ID, r.Title, r.source)
	}
	return out.String()
}

// The page for users shows the data.
func TestPageShowsTheTable(t *testing.T) {
	g := NewWithT(t)
	if *update {
		g.Expect(os.WriteFile(page, []byte(write()), 0o644)).To(Succeed())
	}
	text, err := os.ReadFile(page)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(text)).To(Equal(write()), "run the test with -update")
}
