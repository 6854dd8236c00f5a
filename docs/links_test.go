// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

// Every relative link leads to a file of the repository, and every anchor to a heading.
func TestLinksResolve(t *testing.T) {
	pages := readPages(t)
	links := 0
	for name, text := range pages {
		for _, link := range page.FindLinks(text) {
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			links++
			if problem := brokenLink(pages, name, link); problem != "" {
				t.Errorf("%s links to %s: %s", name, link, problem)
			}
		}
	}
	NewWithT(t).Expect(links).To(BeNumerically(">", 100))
}

func brokenLink(pages map[string]string, from, link string) string {
	file, anchor, _ := strings.Cut(link, "#")
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
		return "there is no such file"
	}
	if anchor != "" && !page.FindAnchors(pages[target])[anchor] {
		return "there is no such heading"
	}
	return ""
}

// Every page in docs is in the index, and the README leads to the index.
func TestIndexHasEveryPage(t *testing.T) {
	g := NewWithT(t)
	pages := readPages(t)
	g.Expect(page.FindLinks(pages["README.md"])).To(ContainElement("docs/README.md"))
	g.Expect(strings.Count(pages["README.md"], "\n")).To(BeNumerically("<", 150), "the README is a page, and not a book")
	index := page.FindLinks(pages["docs/README.md"])
	for name := range pages {
		if rest, inDocs := strings.CutPrefix(name, "docs/"); inDocs && rest != "README.md" && !strings.Contains(rest, "/") {
			g.Expect(index).To(ContainElement(rest), "docs/README.md has no link to %s", rest)
		}
	}
}
