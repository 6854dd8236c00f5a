// SPDX-License-Identifier: Apache-2.0

package page

import (
	"testing"

	. "github.com/onsi/gomega"
)

const sample = "# A `page`, with: words\n\nSee [this](other.md#there) and `code`.\n\n" +
	"<!-- prepare: enforced -->\n<!-- run -->\n```sh\necho one\n# [no](link.md)\n```\n\n" +
	"<!-- expect -->\n```\none\n```\n\n## Again\n\n## Again\n\n```yaml\na: b\n```\n\n" +
	"<!-- run -->\n| To | Run |\n|---|---|\n| see | `echo two` |\n| see more | `echo three` or wait |\n"

func TestBlocksHaveTheirMarks(t *testing.T) {
	g := NewWithT(t)
	blocks := FindBlocks(sample)
	g.Expect(blocks).To(HaveLen(4))
	g.Expect(blocks[0]).To(Equal(Block{Line: 8, Language: "sh", Marks: []string{"prepare: enforced", "run"}, Text: "echo one\n# [no](link.md)"}))
	g.Expect(blocks[0].PreparedState()).To(Equal("enforced"))
	g.Expect(blocks[1].HasMark(MarkExpect)).To(BeTrue())
	g.Expect(blocks[2].Marks).To(BeEmpty(), "a mark is for the next block only")
	g.Expect(blocks[3].Commands()).To(Equal([]string{"echo two", "echo three"}))
}

func TestLinksAnchorsAndCodeAreFound(t *testing.T) {
	g := NewWithT(t)
	g.Expect(FindLinks(sample)).To(Equal([]string{"other.md#there"}), "a block of code has no links")
	g.Expect(FindCode(sample)).To(ContainElements("page", "code", "echo two"))
	g.Expect(FindAnchors(sample)).To(Equal(map[string]bool{"a-page-with-words": true, "again": true, "again-1": true}))
}
