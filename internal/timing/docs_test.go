// SPDX-License-Identifier: Apache-2.0

package timing_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

var update = flag.Bool("update", false, "write the page anew")

const page = "../../docs/timing.md"

const head = `# How long the operator waits

Every duration that the operator waits for by itself, from [timing.go](../internal/timing/timing.go). Durations that a policy declares, such as ` + "`spec.rollout.soakSeconds`" + `, are in the [API reference](api.md). None of these can be configured; open an issue if one does not fit your cluster.
`

// TestPageHasEveryDuration compares the page for users with the constants.
func TestPageHasEveryDuration(t *testing.T) {
	g := NewWithT(t)
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "timing.go", nil, parser.ParseComments)
	g.Expect(err).NotTo(HaveOccurred())
	var want strings.Builder
	want.WriteString(head)
	for _, d := range file.Decls {
		group, is := d.(*ast.GenDecl)
		if !is || group.Tok != token.CONST {
			continue
		}
		fmt.Fprintf(&want, "\n## %s\n\n| Duration | Value | Meaning |\n|---|---|---|\n", strings.TrimSuffix(strings.TrimSpace(group.Doc.Text()), "."))
		for _, s := range group.Specs {
			spec := s.(*ast.ValueSpec)
			var value strings.Builder
			g.Expect(printer.Fprint(&value, files, spec.Values[0])).To(Succeed())
			meaning := strings.Join(strings.Fields(spec.Doc.Text()), " ")
			if rest := strings.TrimPrefix(meaning, spec.Names[0].Name+" "); !strings.HasPrefix(rest, "and ") {
				meaning = strings.TrimPrefix(rest, "is ")
			}
			if meaning == "" {
				meaning = "see above"
			}
			fmt.Fprintf(&want, "| `%s` | %s | %s |\n", spec.Names[0].Name, inWords(value.String()), meaning)
		}
	}
	if *update {
		g.Expect(os.WriteFile(page, []byte(want.String()), 0o644)).To(Succeed())
	}
	is, err := os.ReadFile(page)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(is)).To(Equal(want.String()), "run the test with -update")
}

// inWords returns a constant expression such as 30 * time.Second as 30 s.
func inWords(value string) string {
	for unit, short := range map[string]string{
		"7 * 24 * time.Hour": "7 days", "time.Millisecond": "ms", "time.Second": "s", "time.Minute": "min", "time.Hour": "h",
	} {
		if value == unit && len(short) > 3 {
			return short
		}
		if value == unit {
			return "1 " + short
		}
		if count, is := strings.CutSuffix(value, " * "+unit); is && !strings.Contains(count, "*") {
			return count + " " + short
		}
	}
	return value
}
