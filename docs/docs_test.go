// SPDX-License-Identifier: Apache-2.0

// Package docs compares the documentation with the code.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// Every test that the threat model names exists in the named file.
func TestTestsOfTheThreatModelExist(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile("threat-model.md")
	g.Expect(err).NotTo(HaveOccurred())
	words := regexp.MustCompile("`([^`]+)`")
	var source []byte
	tests := 0
	for line := range strings.Lines(string(text)) {
		source = nil // a test comes after its file, on the same line
		for _, word := range words.FindAllStringSubmatch(line, -1) {
			switch name := word[1]; {
			case strings.HasSuffix(name, "_test.go") && strings.Contains(name, "/"):
				source, err = os.ReadFile(filepath.Join("..", name))
				g.Expect(err).NotTo(HaveOccurred(), name)
			case regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w+$`).MatchString(name):
				g.Expect(string(source)).To(MatchRegexp("(?m)^func "+name+`\(`), "%s is not where %q says", name, strings.TrimSpace(line))
				tests++
			}
		}
	}
	g.Expect(tests).To(BeNumerically(">", 20))
}
