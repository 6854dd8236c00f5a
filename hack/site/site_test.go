// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"golang.org/x/net/html"

	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

const repository = "../.."

// written is the content of an HTML page, as far as links are concerned.
type written struct {
	title   string
	ids     []string
	links   []string
	inMain  []string
	current int
}

// readSite writes the site of this repository, and returns its pages by file.
func readSite(t *testing.T) map[string]written {
	t.Helper()
	g, folder := NewWithT(t), t.TempDir()
	g.Expect(writeSite(repository, folder)).To(Succeed())
	pages := map[string]written{}
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".html" {
			return err
		}
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		root, err := html.Parse(bytes.NewReader(text))
		g.Expect(err).NotTo(HaveOccurred())
		name, err := filepath.Rel(folder, file)
		pages[filepath.ToSlash(name)] = readHTML(root)
		return err
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(len(pages)).To(BeNumerically(">", 60))
	return pages
}

func readHTML(root *html.Node) written {
	found := written{}
	for node := range root.Descendants() {
		if node.Data == "title" && node.FirstChild != nil {
			found.title = node.FirstChild.Data
		}
		for _, attribute := range node.Attr {
			switch attribute.Key {
			case "id":
				found.ids = append(found.ids, attribute.Val)
			case "aria-current":
				found.current++
			case "href", "src":
				found.links = append(found.links, attribute.Val)
				if isWithin(node, "main") {
					found.inMain = append(found.inMain, attribute.Val)
				}
			}
		}
	}
	return found
}

func isWithin(node *html.Node, element string) bool {
	for above := range node.Ancestors() {
		if above.Data == element {
			return true
		}
	}
	return false
}

// Every link of the site leads to one of its files and to an anchor in that
// file, and every link to the repository leads to a file or folder in it.
func TestLinksOfTheSiteResolve(t *testing.T) {
	pages := readSite(t)
	links := 0
	for name, p := range pages {
		for _, link := range p.links {
			if problem := brokenLink(pages, name, link); problem != "" {
				t.Errorf("%s links to %s: %s", name, link, problem)
			}
			links++
		}
	}
	NewWithT(t).Expect(links).To(BeNumerically(">", 2000))
}

func brokenLink(pages map[string]written, from, link string) string {
	file, anchor, _ := strings.Cut(link, "#")
	for _, url := range []string{filesURL, foldersURL} {
		if rest, inRepository := strings.CutPrefix(file, url); inRepository {
			if _, err := os.Stat(filepath.Join(repository, rest)); err != nil {
				return "there is no such file in the repository"
			}
			return ""
		}
	}
	if strings.Contains(file, ":") {
		return "" // a foreign address
	}
	target := from
	if file != "" {
		target = path.Join(path.Dir(from), file)
	}
	to, there := pages[target]
	switch {
	case !there && target != "style.css":
		return "there is no such page"
	case anchor != "" && !slices.Contains(to.ids, anchor):
		return "there is no such anchor"
	}
	return ""
}

// The anchors equal those of the repository's web pages, and each occurs once.
func TestAnchorsEqualThoseOfTheRepository(t *testing.T) {
	g, site := NewWithT(t), readSite(t)
	sources, err := findPages(repository)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(sources).To(HaveLen(len(site)))
	for name, text := range sources {
		want := append(slices.Collect(maps.Keys(page.FindAnchors(string(text)))), "pages")
		g.Expect(site[fileOf(name)].ids).To(ConsistOf(want), name)
	}
}

// From the first page, a reader finds every other page without the navigation. Each page has a title
// of its own, and pages of the navigation are marked there.
func TestEveryPageIsFoundAndNamed(t *testing.T) {
	g, site := NewWithT(t), readSite(t)
	found, next := map[string]bool{}, []string{"index.html"}
	for len(next) > 0 {
		from := next[0]
		next = next[1:]
		if found[from] {
			continue
		}
		found[from] = true
		for _, link := range site[from].inMain {
			file, _, _ := strings.Cut(link, "#")
			if target := path.Join(path.Dir(from), file); path.Ext(target) == ".html" && !strings.Contains(file, ":") {
				next = append(next, target)
			}
		}
	}
	titles := map[string]string{}
	for name, p := range site {
		g.Expect(found).To(HaveKey(name), "no page leads there")
		g.Expect(titles).NotTo(HaveKey(p.title), "%s has the title of %s", name, titles[p.title])
		titles[p.title] = name
	}
	g.Expect(titles).To(HaveKeyWithValue("cpnp-operator", "index.html"))
	for _, section := range readNavigation(mustFindPages(t)) {
		g.Expect(section.Entries).NotTo(BeEmpty(), section.Title)
		for _, entry := range section.Entries {
			g.Expect(site[fileOf(entry.Page)].current).To(Equal(1), "%s in the navigation", entry.Page)
		}
	}
}

func mustFindPages(t *testing.T) map[string][]byte {
	t.Helper()
	pages, err := findPages(repository)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return pages
}

func TestLinksAreConverted(t *testing.T) {
	l := linker{repository: repository, pages: mustFindPages(t)}
	for link, want := range map[string]string{
		"hosts.md":                        "../docs/hosts.html",
		"hosts.md#etcd":                   "../docs/hosts.html#etcd",
		"../README.md":                    "../index.html",
		"runbooks/README.md":              "../docs/runbooks/index.html",
		"../charts/cpnp-operator/":        foldersURL + "charts/cpnp-operator",
		"../config/rbac/role.yaml":        filesURL + "config/rbac/role.yaml",
		"#here":                           "#here",
		"https://example.com/a.md":        "https://example.com/a.md",
		"mailto:someone@example.com":      "mailto:someone@example.com",
		filesURL + "docs/confinement.md":  "../docs/confinement.html",
		filesURL + "docs/not-a-page.json": filesURL + "docs/not-a-page.json",
	} {
		NewWithT(t).Expect(l.convertLink("docs/concepts.md", link)).To(Equal(want), link)
	}
	_, err := l.convertLink("docs/concepts.md", "no-such.md")
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("docs/concepts.md links to no-such.md")))
}

func TestMarkdownIsReadAsOnGitHub(t *testing.T) {
	g := NewWithT(t)
	d := parsePage([]byte("# A `b` [c](d.md)\n\n## Twice\n\n## Twice\n\n| a | b |\n|---|---|\n| 1 | x<br />y |\n\n```mermaid\na --> b\n```\n"))
	g.Expect(d.nameHeadings()).To(Equal([]heading{{1, "A b c", "a-b-c"}, {2, "Twice", "twice"}, {2, "Twice", "twice-1"}}))
	text, err := d.renderHTML()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(text)).To(And(
		ContainSubstring(`<h2 id="twice-1">Twice</h2>`), ContainSubstring("<td>x<br />y</td>"),
		ContainSubstring("<pre><code class=\"language-mermaid\">a --&gt; b\n</code></pre>")))
}
